"""Released weights: an encoder, and a projector if present, from a file of torch tensors."""

from collections.abc import Callable, Mapping
import re
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from barlow_jax.errors import UserError
from barlow_jax.interop import layouts, preprocessing, projector_layout, pth
from barlow_jax.interop.preprocessing import Preprocessing
from barlow_jax.interop.state_dict import COUNTER
from barlow_jax.io import paths
from barlow_jax.io.paths import Path

SUFFIXES = (".safetensors", *pth.SUFFIXES)
_LOSS = re.compile(rf"^(module\.)?bn\.(running_mean|running_var|{COUNTER})$")


class Weights(NamedTuple):
    """Content of a file of weights."""

    encoder: layouts.Encoder
    projector: projector_layout.Projector | None
    ignored: dict[str, str]  # keys that were left out, with the reason
    preprocessing: Preprocessing | None = None  # of the images; None if unknown


def read(path: str | Path) -> Weights:
    """Read a `.safetensors` file or one written by `torch.save` (`.pth`, `.pt`, `.pth.tar`).

    Raises:
      UserError: the file is missing, damaged, or holds something else; the message names it.
    """
    path = Path(path)
    try:
        local = Path(paths.on_disk(str(path)))
        tensors, entries = pth.load(local) if path.suffix in pth.SUFFIXES else (load_file(local), [])
        encoder, projector, ignored, _ = from_tensors(tensors)
        ignored |= {key: pth.IGNORED_ENTRIES[key] for key in entries}
        found, names = preprocessing.read(path, encoder.names)  # from the files next to the weights
        return Weights(encoder._replace(names=tuple(names)), projector, ignored, found)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UserError(
            f"{path}: damaged, or not a safetensors file ({error}). Download or export it again"
        ) from None
    except (UserError, pth.Unreadable) as error:
        raise UserError(f"{path}: {error}") from None


def from_tensors(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Convert the state dict of an encoder (`layouts`) or an official full model.

    The full models of Barlow Twins and VICReg hold a `projector` next to the `backbone`. Barlow Twins' also
    has `bn`, the BatchNorm of the loss, whose running statistics are not used.

    Raises:
      UserError: the layout is another one; names each key that is unknown, missing or of another shape. Or
        a value is not finite, which a ReLU may turn into 0, so that all features are equal.
    """
    projector = {key: tensor for key, tensor in tensors.items() if projector_layout.KEY.match(key)}
    loss = [key for key in tensors if projector and _LOSS.match(key)]
    rest = {key: tensor for key, tensor in tensors.items() if key not in {*projector, *loss}}
    encoder, encoder_problem = _attempt(layouts.read, rest)
    head, head_problem = _attempt(projector_layout.from_torch, projector) if projector else (None, "")
    if encoder and head and head.inputs != (width := encoder.facts.features):
        head_problem = f"the projector expects {head.inputs} features, but the encoder has {width}"
    if encoder_problem or head_problem:
        raise UserError("\n".join(filter(None, (encoder_problem, head_problem))))
    ignored = {key: _reason(key) for part in (encoder, head) if part for key in part.ignored}
    ignored |= {key: "BatchNorm of the loss, which uses the statistics of its own batch here" for key in loss}
    _check_finite({key: tensor for key, tensor in tensors.items() if key not in ignored})
    return Weights(encoder, head, ignored)


def _check_finite(tensors: Mapping[str, np.ndarray]) -> None:
    floats = {key: tensor for key, tensor in tensors.items() if tensor.dtype.kind not in "biu"}
    counts = {key: int(np.sum(~np.isfinite(tensor))) for key, tensor in floats.items()}
    bad = [key for key, count in counts.items() if count]
    if bad:
        raise UserError(
            f"{sum(counts.values())} values are not finite (NaN or infinity), in {len(bad)} of {len(floats)} "
            f"tensors, such as {bad[0]}. The file is damaged or was converted wrongly; use another one"
        )


def _attempt(convert: Callable[[Any], Any], tensors: Mapping[str, np.ndarray]) -> tuple[Any, str]:
    """Return the converted tensors, or None and the error: all problems are reported together."""
    try:
        return convert(tensors), ""
    except UserError as error:
        return None, str(error)


def _reason(key: str) -> str:
    if key.endswith(COUNTER):
        return "counter of batches, which is not used"
    return (
        "classifier"
        if re.search(r"(^|\.)(fc|classifier)\.", key)
        else "head, queue, other encoder or constant"
    )
