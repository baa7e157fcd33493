"""Encoders from and to other libraries' state dicts, by `layout_tables`.

A round trip changes no bit, with one exception: with registers, timm has no position of the class token, so
an export adds it to the token, unless it is 0. Keys and shapes do not determine the computation: a network
with the same keys but another stride, activation or pooling is accepted.
"""

from collections.abc import Mapping
import functools
from functools import partial
import itertools
import math
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from barlow_jax.config.architectures import (
    CONVNEXTS,
    RESNETS,
    VITS,
    ConvNextFacts,
    Facts,
    ResNetFacts,
    VitFacts,
)
from barlow_jax.errors import UserError
from barlow_jax.interop import state_dict
from barlow_jax.interop.layout_tables import PREFIXES, TABLES
from barlow_jax.interop.state_dict import Arrays, Layout, bullet_list
from barlow_jax.networks.convnext import ConvNext
from barlow_jax.networks.resnet import ResNet
from barlow_jax.networks.vit import Vit

# Parts of released files other than the encoder: heads, decoders, teachers, text towers, constants.
_OTHER_PARTS = re.compile(
    r"(^|\.)(heads?|fc|classifier|pooler|decoder\w*|mask_token|mask_embed|lm_head|\w*_?head|predictor|"
    r"projectors?|prototypes|local_cls_norm|rope_embed|bias_mask|position_ids|encoder_k|"
    r"(momentum|target)_\w+|queue\w*|text_\w+|visual_projection|logit_(scale|bias)|token_embedding|ln_final|"
    r"input_resolution|context_length|vocab_size)(\.|$)|"
    r"^(visual\.proj|positional_embedding$|transformer\.)"
)
_STEM_KERNELS = {7: "imagenet", 3: "cifar"}


class Encoder(NamedTuple):
    """Encoder read from a file."""

    names: tuple[str, ...]  # architectures with exactly these tensors; they differ in what has none
    facts: Facts  # of the first one, as in the file
    position_grid: int  # config.network.position_grid
    params: dict[str, Any]  # float32, nested like "encoder" in the parameters of `Network.init`
    batch_stats: dict[str, Any]  # nested in the same way; {} without BatchNorm
    ignored: list[str]  # keys that were left out: other parts, torch's counters of batches
    format: str  # layout of the file

    @property
    def network_keys(self) -> dict[str, Any]:
        """Keys of config.network that the file determines; no `encoder` if several have these tensors."""
        keys = {"encoder": self.names[0]} if len(self.names) == 1 else {}
        if isinstance(self.facts, ResNetFacts):
            return keys | {"width": self.facts.width, "stem": self.facts.stem}
        pool = "fc_norm" if getattr(self.facts, "pool", "") == "fc_norm" else "auto"
        return keys | {"position_grid": self.position_grid, "pool": pool}

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return _first_conv(self.params)["kernel"].shape[2]

    def with_channels(self, channels: int) -> "Encoder":
        """Return the encoder for images of another number of channels.

        In the first convolution each channel gets the mean of the weights of all, times old / new channels:
        an image whose channels are equal has the same activations.
        """
        if channels == self.channels:
            return self
        params = jax.tree.map(np.asarray, self.params)
        first = _first_conv(params)
        mean = first["kernel"].mean(axis=2, keepdims=True)
        first["kernel"] = np.repeat(mean * np.float32(self.channels / channels), channels, axis=2)
        return self._replace(params=params)


class _Attempt(NamedTuple):
    """A file as an architecture in a format."""

    name: str
    format: str
    facts: Facts
    grid: int
    layout: Layout
    keys: Mapping[str, str]  # of the file by those of the layout
    problems: list[str]


def kind(facts: Facts) -> str:
    """Return the kind of encoder in TABLES."""
    if isinstance(facts, ResNetFacts):
        return "resnet"
    if isinstance(facts, ConvNextFacts):
        return "convnextv2" if facts.grn else "convnext"
    if facts.positions == "rotary":
        return "dinov3"
    return "clip" if facts.pre_norm else "dinov2" if facts.layer_scale else "vit"


def read(tensors: Arrays) -> Encoder:
    """Infer prefix and architecture, and read the encoder.

    What precedes the layout's names in the keys of the encoder, such as "module.encoder_q." (MoCo), is
    removed. Classifiers, queues, heads, slow copies of the encoder and counters of batches are left out.

    Raises:
      UserError: no architecture has these tensors, or the file holds several encoders.
    """
    attempts, seen = [], {}
    copies = re.compile(r"(module\.)?(encoder_k|(momentum|target)_\w+)\.")
    convolutions = [key for key, value in tensors.items() if np.ndim(value) == 4 and not copies.match(key)]
    for name, facts in (RESNETS | VITS | CONVNEXTS).items():
        if isinstance(facts, VitFacts) and facts.positions == "sincos":
            continue
        for format_, table in TABLES[kind(facts)].items():
            anchor = f"{_file_key(table, _anchor(facts)).format(s=0, n=1, b=0)}.weight"
            keys = [key for key in convolutions if f".{key}".endswith(f".{anchor}")]
            seen |= dict.fromkeys(keys)
            keys = [key for key in keys if _fits(facts, tensors[key].shape)]
            if len(keys) > 1:
                raise UserError(f"it holds {len(keys)} encoders: {', '.join(keys)}. Save one to its own file")
            if keys:
                attempts.append(
                    _attempt(name, facts, format_, keys[0].removesuffix(anchor), keys[0], tensors)
                )
    if seen and not attempts:
        shapes = ", ".join(f"{key} {list(np.shape(tensors[key]))}" for key in list(seen)[:4])
        raise UserError(f"no supported encoder has the first convolution {shapes}")
    if not attempts:
        raise UserError(bullet_list("not an encoder in a supported layout; the keys are", tensors))
    fewest = min(len(attempt.problems) for attempt in attempts)
    attempts = [attempt for attempt in attempts if len(attempt.problems) == fewest]
    best = attempts[0]
    if best.problems:
        raise UserError(bullet_list(f"not a {best.name} in the layout {best.format}", best.problems))
    names = tuple(dict.fromkeys(attempt.name for attempt in attempts))
    is_usual = isinstance(best.facts, VitFacts) and best.grid * best.facts.patch == best.facts.image_size
    trees = state_dict.read(best.layout, best.keys, tensors)
    return Encoder(names, best.facts, 0 if is_usual else best.grid, *trees, best.format)


def write(
    facts: Facts, format_: str, params: Mapping[str, Any], batch_stats: Any = ()
) -> dict[str, np.ndarray]:
    """Return the state dict of an encoder in a format.

    Raises:
      UserError: the format has no layout for this kind of encoder.
    """
    tables = TABLES[kind(facts)]
    if format_ not in tables:
        raise UserError(f"--format={format_} has no layout for this encoder. Use one of {', '.join(tables)}")
    grid = math.isqrt(params["positions"].shape[1] - 1) if "positions" in params else 0
    channels = np.shape(_first_conv(params)["kernel"])[2]
    layout = _layout(facts, tables[format_], channels, grid)
    if any(entry.drops_class for entry in layout.values()) and params["positions"][:, :1].any():
        params = {**params, "token": params["token"] + params["positions"][:, :1]}
    prefix = PREFIXES.get((kind(facts), format_), "")
    return {prefix + key: t for key, t in state_dict.write(layout, params, batch_stats).items()}


def _first_conv(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if "downsamplings" in params:
        return params["downsamplings"][0]["conv"]
    return params["patches" if "patches" in params else "conv"]


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.split("\n") if line]


def _file_key(table: str, path: str) -> str:
    return next(key for key, ours, *_ in _rows(table) if ours == path)


def _anchor(facts: Facts) -> str:
    """Return the path in the tables of the convolution by which an encoder is found in a file."""
    if isinstance(facts, ResNetFacts):
        return "stages.{s}.{b}.conv1"
    return "patches" if isinstance(facts, VitFacts) else "downsamplings.0.conv"


def _fits(facts: Facts, shape: tuple[int, ...]) -> bool:
    if isinstance(facts, ResNetFacts):
        return shape[2:] == ((1, 1) if facts.bottleneck else (3, 3))
    is_vit = isinstance(facts, VitFacts)
    width, side = (facts.width, facts.patch) if is_vit else (facts.widths[0], 4)
    return (shape[0], *shape[2:]) == (width, side, side)


def _attempt(name: str, facts: Facts, format_: str, prefix: str, anchor: str, tensors: Arrays) -> _Attempt:
    """Compare a file with an architecture, whose anchor has a key in the file."""
    table, grid, channels = TABLES[kind(facts)][format_], 0, tensors[anchor].shape[1]
    if isinstance(facts, ResNetFacts):
        shape = np.shape(tensors.get(f"{prefix}{_file_key(table, 'conv')}.weight", ()))
        shape = shape if len(shape) == 4 else (channels, 3, 7, 7)
        facts = facts._replace(width=channels, stem=_STEM_KERNELS.get(shape[-1], "imagenet"))
        channels = shape[1]
    if isinstance(facts, VitFacts):
        facts = facts._replace(pool="fc_norm") if f"{prefix}fc_norm.weight" in tensors else facts
        if facts.positions == "learned":
            shape = np.shape(tensors.get(prefix + _file_key(table, "positions"), ()))
            grid = math.isqrt(shape[-2]) if len(shape) > 1 else 1
    layout = _layout(facts, table, channels, grid)
    keys = {key: prefix + key for key in layout}
    # torchvision's released transformers have the names of an older version.
    older = {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}
    for new, old in older.items():
        keys |= {key: at.replace(new, old) for key, at in keys.items() if at.replace(new, old) in tensors}
    present = {key: theirs for key, theirs in keys.items() if theirs in tensors}
    problems, known = state_dict.mismatches(layout, present, tensors), set(keys.values())
    for key in (key for key in tensors if key not in known):
        inner = key.removeprefix(prefix)
        # A ResNet's blocks may hold a squeeze-and-excitation named fc.
        in_block = isinstance(facts, ResNetFacts) and inner.startswith(("layer", "stages"))
        if in_block or not (_OTHER_PARTS.search(inner) or _OTHER_PARTS.search(key)):
            problems.append(f"{key}: unknown")
    return _Attempt(name, format_, facts, grid, layout, keys, problems)


def _short(facts: Facts) -> Facts:
    """Return the facts with one block per stage, or two in a ResNet, whose first blocks differ."""
    if isinstance(facts, VitFacts):
        return facts._replace(blocks=1)
    most = 2 if isinstance(facts, ResNetFacts) else 1
    return facts._replace(blocks=tuple(min(count, most) for count in facts.blocks))


@functools.cache
def _shapes(facts: Facts, channels: int, grid: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an encoder's arrays by path."""
    if isinstance(facts, VitFacts):
        return state_dict.module_shapes(partial(Vit, facts, grid=grid, channels=channels))
    encoder = ResNet if isinstance(facts, ResNetFacts) else ConvNext
    return state_dict.module_shapes(partial(encoder, facts, channels=channels))


def _layout(facts: Facts, table: str, channels: int, grid: int) -> Layout:
    """Return the layout of an encoder, in the order of the table and, within it, of stages and blocks."""
    shapes = _shapes(_short(facts), channels, grid)
    is_vit = isinstance(facts, VitFacts)
    flags = {
        "gate": is_vit and facts.activation == "swiglu",
        "registers": is_vit and facts.registers > 0,
        "fc_norm": is_vit and facts.pool == "fc_norm",
        "dense": isinstance(facts, ConvNextFacts) and facts.widths[0] < 96,
    }
    entries, used = {}, set()
    counts = (facts.blocks,) if is_vit else facts.blocks
    last = 1 if isinstance(facts, ResNetFacts) else 0  # block in `shapes` that all later ones are like
    for in_block, group in itertools.groupby(_rows(table), lambda row: "{b}" in row[0]):
        rows = [row for row in group if all(flags[o[1:]] == (o[0] == "+") for o in row[2:] if o[0] in "+-")]
        for stage, count in enumerate(counts):
            names = {"s": stage, "n": stage + 1, "even": 2 * stage, "odd": 2 * stage + 1}
            for block, (key, ours, *options) in itertools.product(range(count if in_block else 1), rows):
                key, path = (text.format(b=block, **names) for text in (key, ours))
                like = ours.format(b=min(block, last), **names)
                dims = [option for option in options if option[0] not in "+-"]
                for full, entry in state_dict.expand_row(key, path, like, shapes, *dims):
                    if not entry.paths or not used.issuperset(entry.paths):
                        used |= set(entry.paths)
                        entries[full] = entry
    return entries
