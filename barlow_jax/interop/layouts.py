"""Vision transformers and ConvNeXts from and to other libraries' state dicts, by `layout_tables`.

Only axes move and arrays are concatenated, so a round trip changes no bit. One exception: with
registers, timm has no position of the class token, so an export adds it to the token, unless it is 0.
"""

from collections.abc import Iterator, Mapping
import functools
import math
import re
from typing import Any, NamedTuple

from flax import nnx
import jax
import numpy as np

from barlow_jax.config.architectures import CONVNEXTS, VITS, ConvNextFacts, VitFacts
from barlow_jax.errors import UserError
from barlow_jax.interop.layout_tables import PREFIXES, TABLES
from barlow_jax.interop.state_dict import bullet_list, mismatches, with_channels
from barlow_jax.networks.convnext import ConvNext
from barlow_jax.networks.vit import Vit

Facts = VitFacts | ConvNextFacts
Arrays = Mapping[str, np.ndarray]
# Parts of released files other than the encoder: heads, decoders, teachers, text towers, constants.
_OTHER_PARTS = re.compile(
    r"(^|\.)(heads?|fc|classifier|pooler|decoder\w*|mask_token|mask_embed|lm_head|\w*_?head|predictor|"
    r"projectors?|local_cls_norm|rope_embed|bias_mask|position_ids|encoder_k|(momentum|target)_\w+|queue\w*|"
    r"text_\w+|visual_projection|logit_(scale|bias)|token_embedding|ln_final|input_resolution|context_length|"
    r"vocab_size)(\.|$)|^(visual\.proj|positional_embedding$|transformer\.)"
)


class Encoder(NamedTuple):
    """Encoder read from a file."""

    names: tuple[str, ...]  # architectures with exactly these tensors; they differ in what has none
    position_grid: int  # config.network.position_grid
    pool: str  # config.network.pool
    params: dict[str, Any]  # float32, nested like "encoder" in the parameters of `Network.init`
    batch_stats: dict[str, Any]  # {}
    ignored: list[str]  # keys that were left out
    format: str  # layout of the file

    @property
    def network_keys(self) -> dict[str, Any]:
        """Keys of config.network that the file determines; no `encoder` if several have these tensors."""
        keys = {"position_grid": self.position_grid, "pool": self.pool}
        return keys | ({"encoder": self.names[0]} if len(self.names) == 1 else {})

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self._conv["kernel"].shape[2]

    @property
    def _conv(self) -> dict[str, np.ndarray]:
        return self.params["patches"] if "patches" in self.params else self.params["downsamplings"][0]["conv"]

    def with_channels(self, channels: int) -> "Encoder":
        """Return the encoder for images of other channels, as `with_channels` does."""
        if channels == self.channels:
            return self
        encoder = self._replace(params=jax.tree.map(np.asarray, self.params))
        encoder._conv["kernel"] = with_channels(self._conv["kernel"], channels)
        return encoder

    @property
    def num_features(self) -> int:
        """Width H of the representation."""
        return self.params["norm"]["scale"].shape[0]


class _Entry(NamedTuple):
    path: tuple[str, ...]  # of the arrays here, which the file concatenates
    shapes: tuple[tuple[int, ...] | None, ...]  # of these arrays; None = zeros in the file, nothing here
    shape: tuple[int, ...]  # in the file
    drops_class: bool  # the file has no position of the class token


def kind(facts: Facts) -> str:
    """Return the kind of encoder in TABLES."""
    if isinstance(facts, ConvNextFacts):
        return "convnextv2" if facts.grn else "convnext"
    if facts.positions == "rotary":
        return "dinov3"
    return "clip" if facts.pre_norm else "dinov2" if facts.layer_scale else "vit"


def read(tensors: Arrays) -> Encoder | None:
    """Infer prefix and architecture, and read the encoder; None if the keys are those of neither family.

    Raises:
      UserError: no architecture has these tensors, or the file holds several encoders.
    """
    attempts, seen = [], []
    copies = re.compile(r"(module\.)?(encoder_k|(momentum|target)_\w+)\.")
    convolutions = [key for key, value in tensors.items() if np.ndim(value) == 4 and not copies.match(key)]
    for name, facts in (VITS | CONVNEXTS).items():
        if isinstance(facts, VitFacts) and facts.positions == "sincos":
            continue
        for format_, table in TABLES[kind(facts)].items():
            row = next(line for line in table.split("\n") if line.split()[1:2] == [_conv(facts)])
            anchor = f"{row.split()[0]}.weight"
            keys = [key for key in convolutions if f".{key}".endswith(f".{anchor}")]
            seen += keys
            keys = [key for key in keys if _fits(facts, tensors[key].shape)]
            if len(keys) > 1:
                raise UserError(f"it holds several encoders: {', '.join(keys)}. Save one to its own file")
            if keys:
                prefix = keys[0].removesuffix(anchor)
                attempts.append((name, format_, *_compare(facts, table, prefix, tensors, keys[0])))
    if not attempts:
        if not [key for key in seen if key.rpartition(".")[0].rpartition(".")[2] != "conv1"]:
            return None
        shapes = ", ".join(f"{key} {list(np.shape(tensors[key]))}" for key in dict.fromkeys(seen))
        raise UserError(f"no supported vision transformer or ConvNeXt has the first convolution {shapes}")
    return _best(attempts, tensors)


def _best(attempts: list[tuple], tensors: Arrays) -> Encoder:
    fewest = min(len(problems) for *_, problems in attempts)
    attempts = [attempt for attempt in attempts if len(attempt[-1]) == fewest]
    name, format_, facts, grid, entries, keys, problems = attempts[0]
    if problems:
        raise UserError(bullet_list(f"not a {name} in the layout {format_}", problems))
    params: dict[str, Any] = {}
    for key, entry in entries.items():
        for path, array in _arrays(np.asarray(tensors[keys[key]]), entry):
            _set(params, path, array)
    base = (VITS | CONVNEXTS)[name]
    pool = "auto" if facts == base else facts.pool
    grid = 0 if isinstance(base, ConvNextFacts) or grid * base.patch == base.image_size else grid
    ignored = [key for key in tensors if key not in set(keys.values())]
    names = tuple(dict.fromkeys(attempt[0] for attempt in attempts))
    return Encoder(names, grid, pool, params, {}, ignored, format_)


def write(facts: Facts, format_: str, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the state dict of an encoder in a format.

    Raises:
      UserError: the format has no layout for this kind of encoder.
    """
    tables = TABLES[kind(facts)]
    if format_ not in tables:
        raise UserError(f"--format={format_} has no layout for this encoder. Use one of {', '.join(tables)}")
    leaves, _ = jax.tree.flatten_with_path(params)
    arrays = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves
    }
    grid = math.isqrt(arrays["positions"].shape[1] - 1) if "positions" in arrays else 0
    channels = arrays[f"{_conv(facts)}.kernel"].shape[2]
    prefix, tensors = PREFIXES.get((kind(facts), format_), ""), {}
    entries = _entries(facts, tables[format_], channels, grid)
    if any(entry.drops_class for entry in entries.values()) and arrays["positions"][:, :1].any():
        arrays["token"] = arrays["token"] + arrays["positions"][:, :1]
    for key, entry in entries.items():
        like = next(shape for shape in entry.shapes if shape)
        parts = [_to_torch(arrays.get(path, np.zeros(like, np.float32)), path) for path in entry.path]
        parts = [part[:, 1:] if entry.drops_class else part for part in parts]
        tensors[prefix + key] = np.array(np.concatenate(parts).reshape(entry.shape), np.float32, order="C")
    return tensors


def _conv(facts: Facts) -> str:
    return "patches" if isinstance(facts, VitFacts) else "downsamplings.0.conv"


def _fits(facts: Facts, shape: tuple[int, ...]) -> bool:
    is_vit = isinstance(facts, VitFacts)
    width, side = (facts.width, facts.patch) if is_vit else (facts.widths[0], 4)
    return (shape[0], *shape[2:]) == (width, side, side)


def _compare(facts: Facts, table: str, prefix: str, tensors: Arrays, conv: str) -> tuple:
    """Return facts, grid and entries for the file, its keys by those of the layout, and the problems."""
    if f"{prefix}fc_norm.weight" in tensors and isinstance(facts, VitFacts):
        facts = facts._replace(pool="fc_norm")
    grid = 0
    if "positions" in _shapes(facts, 3, 0):
        row = next(line.split() for line in table.split("\n") if line.split()[1:2] == ["positions"])
        rows = np.shape(tensors.get(prefix + row[0], np.zeros((1, 1, 1))))[-2:-1] or (1,)
        grid = math.isqrt(rows[0])
    entries = _entries(facts, table, tensors[conv].shape[1], grid)
    keys = {key: prefix + key for key in entries}
    # torchvision's released transformers have the names of an older version.
    older = {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}
    for new, old in older.items():
        keys |= {key: at.replace(new, old) for key, at in keys.items() if at.replace(new, old) in tensors}
    present = {key: theirs for key, theirs in keys.items() if theirs in tensors}
    problems, known = mismatches(entries, present, tensors), set(keys.values())
    for key in tensors:
        inner = key.removeprefix(prefix) if key.startswith(prefix) else key
        if key not in known and not _OTHER_PARTS.search(inner) and not _OTHER_PARTS.search(key):
            problems.append(f"{key}: unknown")
    return facts, grid, entries, keys, problems


@functools.cache
def _shapes(facts: Facts, channels: int, grid: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes by path of the arrays of an encoder with one block per stage."""

    def build() -> nnx.Module:
        kwargs = {"channels": channels, "rngs": nnx.Rngs(0)}
        if isinstance(facts, VitFacts):
            return Vit(facts._replace(blocks=1), grid=grid, **kwargs)
        return ConvNext(facts._replace(blocks=(1,) * len(facts.blocks)), **kwargs)

    module = nnx.eval_shape(build)
    leaves, _ = jax.tree.flatten_with_path(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}


def _entries(facts: Facts, table: str, channels: int, grid: int) -> dict[str, _Entry]:
    """Return the entries of a layout by the file's keys."""
    shapes = _shapes(facts, channels, grid)
    is_vit = isinstance(facts, VitFacts)
    flags = {
        "gate": is_vit and facts.activation == "swiglu",
        "registers": is_vit and facts.registers > 0,
        "fc_norm": is_vit and facts.pool == "fc_norm",
        "dense": not is_vit and facts.widths[0] < 96,
    }
    entries, used = {}, set()
    counts = (facts.blocks,) if is_vit else facts.blocks
    for line in filter(None, table.split("\n")):
        theirs, ours, *options = line.split()
        conditions = [option for option in options if option[0] in "+-"]
        if any(flags[option[1:]] != (option[0] == "+") for option in conditions):
            continue
        dims = next((option for option in options if option not in conditions), "")
        for stage, count in enumerate(counts):
            for block in range(count if "{b}" in line else 1):
                names = {"s": stage, "even": 2 * stage, "odd": 2 * stage + 1}
                key, path = theirs.format(b=block, **names), ours.format(b=block, **names)
                for suffix, entry in _row(path, ours.format(b=0, **names), shapes, dims):
                    if not used.issuperset(entry.path):
                        used |= set(entry.path)
                        joint = "" if not suffix or key.endswith("_") else "."
                        entries[key + joint + suffix] = entry
    return entries


def _row(path: str, first: str, shapes: Mapping[str, tuple], dims: str) -> Iterator[tuple[str, _Entry]]:
    """Yield key suffix and entry for each array of a row; `first` is the path in the first block."""
    for leaf, suffix in (("", ""), (".kernel", "weight"), (".scale", "weight"), (".bias", "bias")):
        pairs = list(zip(_expand(path + leaf), _expand(first + leaf), strict=True))
        if not any(like in shapes for _, like in pairs):
            continue
        layers = {like.rpartition(".")[0] for like in shapes}
        pairs = [pair for pair in pairs if pair[1] in shapes or pair[1].rpartition(".")[0] in layers]
        ours = tuple(shapes.get(like) for _, like in pairs)
        full = [
            _to_torch(np.empty(shape, np.void), like).shape
            for shape, (_, like) in zip(ours, pairs, strict=True)
            if shape
        ]
        shape = full[0] if len(pairs) == 1 else (len(pairs) * full[0][0], *full[0][1:])
        if dims == "patches":
            shape = (1, shape[1] - 1, shape[2])
        elif dims:
            sizes = iter(size for size in shape if size != 1)
            shape = tuple(1 if letter == "1" else next(sizes) for letter in dims)
        yield suffix, _Entry(tuple(name for name, _ in pairs), ours, shape, dims == "patches")


def _expand(path: str) -> list[str]:
    match = re.search(r"\((.*)\)", path)
    return [path.replace(match[0], name) for name in match[1].split(",")] if match else [path]


def _to_torch(array: np.ndarray, path: str) -> np.ndarray:
    """Return an array with torch's axes: kernels are `[out, in, ...]`, heads are concatenated."""
    if path.endswith("kernel"):
        if array.ndim == 3:
            array = array.reshape([math.isqrt(array.size)] * 2)
        return array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
    return array.reshape(-1) if path.endswith("bias") else array


def _arrays(array: np.ndarray, entry: _Entry) -> Iterator[tuple[str, np.ndarray]]:
    """Yield path and array here for each part of a tensor of the file; inverse of `_to_torch`."""
    if entry.drops_class:
        array = np.concatenate([np.zeros_like(array[:, :1]), array], axis=1)
    for path, shape, part in zip(entry.path, entry.shapes, np.split(array, len(entry.path)), strict=True):
        if shape is not None:
            blank = _to_torch(np.empty(shape, np.void), path)
            if path.endswith("kernel"):
                part = part.reshape(blank.shape).transpose((2, 3, 1, 0) if blank.ndim == 4 else (1, 0))
            yield path, np.array(part.reshape(shape), np.float32, order="C")


def _set(tree: dict, path: str, leaf: np.ndarray) -> None:
    *parents, last = (int(name) if name.isdigit() else name for name in path.split("."))
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = leaf
