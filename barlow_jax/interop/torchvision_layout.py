"""The ResNet with torchvision's keys, which torch, timm, Detectron2 and released encoders use.

    torchvision                          here
    conv1.weight                         conv.kernel
    bn1.weight, .bias                    norm.scale, .bias
    bn1.running_mean, .running_var       norm.mean, .var                  (statistics)
    layer2.0.conv1.weight                stages[1][0].conv1.kernel
    layer2.0.downsample.0.weight         stages[1][0].shortcut.conv.kernel
    layer2.0.downsample.1.weight         stages[1][0].shortcut.norm.scale

`state_dict` documents the order of the axes. Keys and shapes do not determine the computation: a network with
the same keys but another stride, activation or pooling is accepted as a ResNet.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import state_dict
from barlow_jax.interop.state_dict import Entry, bullet_list
from barlow_jax.networks.resnet import ENCODERS, num_features

_STEM_KERNELS = {"imagenet": 7, "cifar": 3}
# Added by DistributedDataParallel, and by the attribute that holds the encoder in the official models.
_PREFIX = re.compile(r"^(module\.)?(backbone\.)?")
# Parts of released checkpoints of other methods next to the encoder.
_OTHER_PART = re.compile(
    r"^(module\.)?(encoder_k|(momentum|target)_\w+|predictor|projection_head|prototypes|classifier|queue(_ptr)?)"
    r"(\.|$)"
)
_BLOCK = re.compile(r"layer([1-9]\d*)\.(\d+)\.")
_FIRST_BLOCK = "layer1.0.conv1.weight"


class Encoder(NamedTuple):
    """Arrays of `networks.resnet.ResNet(name, width=width, stem=stem)`."""

    name: str  # a key of ENCODERS
    width: int  # channels of the first stage
    stem: str  # "imagenet" or "cifar"
    params: dict[str, Any]  # float32, nested like "encoder" in the parameters of `Network.init`
    batch_stats: dict[str, Any]  # nested in the same way
    ignored: list[str]  # keys that were left out: other parts, the classifier, torch's counters of batches

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.params["conv"]["kernel"].shape[2]

    @property
    def network_keys(self) -> dict[str, Any]:
        """Keys of config.network that the file determines."""
        return {"encoder": self.name, "width": self.width, "stem": self.stem}

    @property
    def names(self) -> tuple[str, ...]:
        """Architectures that have these tensors."""
        return (self.name,)

    @property
    def num_features(self) -> int:
        """Width H of the representation."""
        return num_features(self.name, self.width)

    def with_channels(self, channels: int) -> "Encoder":
        """Return the encoder for images of another number of channels, as `state_dict.with_channels` does."""
        if channels == self.channels:
            return self
        kernel = state_dict.with_channels(self.params["conv"]["kernel"], channels)
        return self._replace(params=self.params | {"conv": {"kernel": kernel}})


def from_torchvision(tensors: Mapping[str, np.ndarray]) -> Encoder:
    """Read the encoder from a state dict with torchvision's keys; the architecture is inferred.

    A prefix that all keys of the encoder share is removed, such as "module.backbone.",
    "module.encoder_q." (MoCo) or "module.base_encoder." (MoCo v3). `fc.*`, `num_batches_tracked`, and the
    queue, the heads and the slow copy of the encoder that other methods save are left out and listed in
    `ignored`.

    Raises:
      UserError: these are not the keys and shapes of one of ENCODERS; names each key that is unknown,
        missing, duplicated or of another shape.
    """
    others = [key for key in tensors if _OTHER_PART.match(key)]
    tensors = {key: tensor for key, tensor in tensors.items() if key not in others}
    keys, duplicates, prefix = {}, [], _encoder_prefix(tensors)
    for key in tensors:
        short = _PREFIX.sub("", key.removeprefix(prefix))
        duplicates += [f"{key}: present twice, with and without a prefix"] if short in keys else []
        keys[short] = key
    name, width, stem, channels = _identify(keys, tensors)
    layout = _layout(name, width, stem, channels)
    ignored = [key for key in keys if key.startswith("fc.") or (key in layout and not layout[key].path)]
    problems = duplicates + [f"{keys[key]}: unknown" for key in keys if key not in {*layout, *ignored}]
    problems += state_dict.mismatches(layout, keys, tensors)
    if problems:
        raise UserError(bullet_list(f"not a {name} of width {width} in torchvision's layout", problems))
    trees = state_dict.read(layout, keys, tensors)
    return Encoder(name, width, stem, *trees, [keys[key] for key in ignored] + others)


def to_torchvision(params: Any, batch_stats: Any) -> dict[str, np.ndarray]:
    """Return the state dict of an encoder in torchvision's order, without `fc`, for a strict load.

    The arguments are nested dicts, "encoder" in the trees of `Network.init`.
    """
    stages = params["stages"]
    kernel, _, channels, width = np.shape(params["conv"]["kernel"])
    name = _name([len(stages[i]) for i in range(len(stages))], "conv3" in stages[0][0])
    stem = next(stem for stem, pixels in _STEM_KERNELS.items() if pixels == kernel)
    return state_dict.write(_layout(name, width, stem, channels), params, batch_stats)


def _encoder_prefix(keys: Iterable[str]) -> str:
    """Return what precedes torchvision's names in the keys of the encoder."""
    prefixes = [key.removesuffix(_FIRST_BLOCK) for key in keys if key.endswith(_FIRST_BLOCK)]
    if len(prefixes) > 1:
        raise UserError(
            f"it holds {len(prefixes)} encoders, with the prefixes {', '.join(map(repr, prefixes))}. Save "
            "the keys of one of them to a file of its own, and pass that"
        )
    return prefixes[0] if prefixes else ""


def _layout(name: str, width: int, stem: str, channels: int) -> dict[str, Entry]:
    """Return the position of each of torchvision's tensors, in torchvision's order."""
    block, blocks = ENCODERS[name]
    stem_shape = (width, channels, _STEM_KERNELS[stem])
    layout = _conv_norm("conv1", "bn1", (), ("conv", "norm"), stem_shape)
    channels = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        outputs = inner * block.expansion
        for index in range(count):
            key, path = f"layer{stage + 1}.{index}", ("stages", stage, index)
            if block.expansion == 1:
                convs = [(inner, channels, 3), (inner, inner, 3)]
            else:
                convs = [(inner, channels, 1), (inner, inner, 3), (outputs, inner, 1)]
            for n, shape in enumerate(convs, 1):
                names = f"conv{n}", f"norm{n}"
                layout |= _conv_norm(f"{key}.conv{n}", f"{key}.bn{n}", path, names, shape)
            if index == 0 and (stage > 0 or channels != outputs):
                keys = f"{key}.downsample.0", f"{key}.downsample.1"
                shape = outputs, channels, 1
                layout |= _conv_norm(*keys, (*path, "shortcut"), ("conv", "norm"), shape)
            channels = outputs
    return layout


def _conv_norm(
    conv: str, norm: str, path: tuple, names: tuple[str, str], shape: tuple[int, int, int]
) -> dict[str, Entry]:
    """Return the layout of a convolution of `(out, in, kernel)` and its BatchNorm; `names` are those here."""
    outputs, inputs, kernel = shape
    weight = Entry((*path, names[0], "kernel"), (outputs, inputs, kernel, kernel))
    return {f"{conv}.weight": weight} | state_dict.norm(norm, (*path, names[1]), outputs)


def _identify(keys: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> tuple[str, int, str, int]:
    """Infer architecture, width, stem and channels from the keys; mismatches are reported by the caller."""
    blocks: dict[int, set[int]] = {}
    for key in keys:
        if match := _BLOCK.match(key):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    shape = np.shape(tensors[keys["conv1.weight"]]) if "conv1.weight" in keys else ()
    stems = {pixels: stem for stem, pixels in _STEM_KERNELS.items()}
    kernel = shape[-1] if len(shape) == 4 else 7
    norm = np.shape(tensors[keys["bn1.weight"]]) if "bn1.weight" in keys else ()
    width = norm[0] if len(norm) == 1 else shape[0] if len(shape) == 4 else None
    if sorted(blocks) != [*range(1, len(blocks) + 1)] or not blocks or width is None:
        raise UserError(bullet_list("not a ResNet in torchvision's layout; the keys are", keys.values()))
    if kernel not in stems:
        raise UserError(
            f"{keys['conv1.weight']} has shape {list(shape)}; expected a stem of 7x7 (ImageNet) or 3x3 "
            "(CIFAR)"
        )
    name = _name([len(blocks[stage]) for stage in sorted(blocks)], any(".conv3." in key for key in keys))
    return name, width, stems[kernel], shape[1] if len(shape) == 4 else 3


def _name(blocks: list[int], bottleneck: bool) -> str:
    for name, (block, counts) in ENCODERS.items():
        if tuple(blocks) == counts and bottleneck == (block.expansion > 1):
            return name
    kind = "bottleneck" if bottleneck else "basic"
    raise UserError(
        f"no supported ResNet has stages of {blocks} {kind} blocks; supported: {', '.join(ENCODERS)}"
    )
