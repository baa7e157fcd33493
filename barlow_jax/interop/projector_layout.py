"""The projector with the keys of torch's `nn.Sequential`, as in released full checkpoints.

    official, Barlow Twins and VICReg    here
    projector.0.weight, .bias            layers[0].kernel, .bias
    projector.1.weight, .bias            norms[0].scale, .bias
    projector.1.running_mean             norms[0].mean                    (statistics)
    projector.3.weight                   layers[1].kernel
    projector.6.weight                   layers[2].kernel

Indices count every module, ReLUs too: Linear, BatchNorm, ReLU for each hidden width, then a Linear. Barlow
Twins' Linears have no bias; all of VICReg's except the last have one. `state_dict` documents the order of the
axes.
"""

from collections.abc import Mapping
from functools import partial
import re
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import state_dict
from barlow_jax.interop.state_dict import Layout, bullet_list
from barlow_jax.networks import heads

PREFIX = "projector."
KEY = re.compile(r"^(?:module\.)?projector\.")


class Shape(NamedTuple):
    """The projector's settings, named like the keys of `config.network`."""

    projector: tuple[int, ...]  # widths
    projector_batch_norm: bool
    projector_biases: str  # "none", "hidden" or "all"
    projector_output_norm: bool


class Projector(NamedTuple):
    """Arrays of a `networks.heads.Projector`."""

    inputs: int  # width H of the representation
    shape: Shape
    params: dict[str, Any]  # float32, nested like "projector" in the parameters of `Network.init`
    batch_stats: dict[str, Any]  # nested in the same way; {} without BatchNorm
    ignored: list[str]  # keys that were left out: torch's counters of batches


def from_torch(tensors: Mapping[str, np.ndarray]) -> Projector:
    """Read the projector from a state dict whose keys all start with "projector." or "module.projector.".

    Raises:
      UserError: the layout is another one; names each key that is unknown, missing or of another shape.
    """
    keys = {KEY.sub(PREFIX, key): key for key in tensors}
    inputs, shape = _identify({key: np.shape(tensors[own]) for key, own in keys.items()})
    layout = _layout(inputs, shape)
    problems = [f"{own}: unknown" for key, own in keys.items() if key not in layout]
    problems += state_dict.mismatches(layout, keys, tensors)
    if problems:
        widths = ", ".join(map(str, shape.projector))
        raise UserError(bullet_list(f"not a projector of widths {widths} on {inputs} features", problems))
    return Projector(inputs, shape, *state_dict.read(layout, keys, tensors))


def _layout(inputs: int, shape: Shape) -> Layout:
    widths, batch_norm, biases, output_norm = shape
    settings = {"batch_norm": batch_norm, "biases": biases, "output_norm": output_norm}
    shapes = state_dict.module_shapes(partial(heads.Projector, inputs, widths, **settings))
    layout, step, last = {}, 3 if batch_norm else 2, len(widths) - 1
    for index in range(len(widths)):
        norm = f"norms.{index}" if index < last else "output_norm"
        for position, path in ((step * index, f"layers.{index}"), (step * index + 1, norm)):
            layout |= dict(state_dict.expand_row(f"{PREFIX}{position}", path, path, shapes))
    return layout


def _identify(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, Shape]:
    """Infer input width and settings from the keys; mismatches are reported by the caller."""
    linears = sorted(
        int(match[1])
        for key, shape in shapes.items()
        if (match := re.fullmatch(r"projector\.(\d+)\.weight", key)) and len(shape) == 2
    )
    if not linears:
        raise UserError(bullet_list("not a projector made of Linears; the keys are", shapes))
    linear_shapes = [shapes[f"{PREFIX}{position}.weight"] for position in linears]
    with_bias = [f"{PREFIX}{position}.bias" in shapes for position in linears]
    biases = "all" if with_bias[-1] else "hidden" if any(with_bias) else "none"
    between = range(linears[0] + 1, linears[-1])  # empty for a single Linear, where the setting is irrelevant
    batch_norm = not between or any(f"{PREFIX}{position}.running_mean" in shapes for position in between)
    output_norm = f"{PREFIX}{linears[-1] + 1}.running_mean" in shapes
    return linear_shapes[0][1], Shape(tuple(out for out, _ in linear_shapes), batch_norm, biases, output_norm)
