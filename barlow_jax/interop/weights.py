"""Released weights: a file of torch's tensors as an encoder, and a projector where it has one."""

from collections.abc import Callable, Mapping
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from barlow_jax.errors import UserError
from barlow_jax.interop import projector_layout, pth, torchvision_layout
from barlow_jax.interop.state_dict import COUNTER
from barlow_jax.networks.resnet import num_features

SUFFIXES = (".safetensors", *pth.SUFFIXES)
_PROJECTOR = re.compile(r"^(module\.)?projector\.")
_LOSS = re.compile(rf"^(module\.)?bn\.(running_mean|running_var|{COUNTER})$")


class Weights(NamedTuple):
    """What a file holds."""

    encoder: torchvision_layout.Encoder
    projector: projector_layout.Projector | None
    ignored: dict[str, str]  # why each key that was left out was


def read(path: str | pathlib.Path) -> Weights:
    """`from_tensors` of a `.safetensors` file, or of one that torch saved (`.pth`, `.pt`, `.pth.tar`).

    Raises:
      UserError: the file is absent or damaged, or holds something else; names it.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix in pth.SUFFIXES:
            tensors, beside = pth.load(path)
            found = from_tensors(tensors)
            return found._replace(ignored=found.ignored | {key: pth.BESIDE[key] for key in beside})
        return from_tensors(load_file(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UserError(
            f"{path}: damaged, or no safetensors file ({error}); fetch or export it anew"
        ) from None
    except (UserError, pth.Unreadable) as error:
        raise UserError(f"{path}: {error}") from None


def from_tensors(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Of a ResNet's state dict in torchvision's layout, or of the official Barlow Twins' or VICReg's whole model.

    The latter has a `projector` beside its `backbone`, and Barlow Twins' also `bn`, the loss's BatchNorm, whose
    running averages nothing reads.

    Raises:
      UserError: it is none of them; names each key that is unknown, missing or of another shape.
    """
    projector = {key: tensor for key, tensor in tensors.items() if _PROJECTOR.match(key)}
    loss = [key for key in tensors if projector and _LOSS.match(key)]
    rest = {key: tensor for key, tensor in tensors.items() if key not in {*projector, *loss}}
    encoder, wrong = _tried(torchvision_layout.from_torchvision, rest)
    head, more = _tried(projector_layout.from_torch, projector) if projector else (None, "")
    if encoder and head and head.inputs != (made := num_features(encoder.name, encoder.width)):
        more = f"the projector takes {head.inputs} features, and the encoder makes {made}"
    if wrong or more:
        raise UserError("\n".join(filter(None, (wrong, more))))
    ignored = {key: _why(key) for part in (encoder, head) if part for key in part.ignored}
    ignored |= {
        key: "of the loss's BatchNorm: the loss here takes its own batch's statistics" for key in loss
    }
    return Weights(encoder, head, ignored)


def _tried(of: Callable[[Any], Any], tensors: Mapping[str, np.ndarray]) -> tuple[Any, str]:
    """What `of` makes of them, or why it cannot: of both parts all is to be said at once."""
    try:
        return of(tensors), ""
    except UserError as error:
        return None, str(error)


def _why(key: str) -> str:
    return "a counter of batches, which nothing reads" if key.endswith(COUNTER) else "the classifier"
