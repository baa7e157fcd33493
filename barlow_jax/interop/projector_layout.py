"""A projector's arrays under the names that torch's `nn.Sequential` gives them: those of released full checkpoints.

    official, Barlow Twins and VICReg    here
    projector.0.weight, .bias            layers[0].kernel, .bias
    projector.1.weight, .bias            norms[0].scale, .bias
    projector.1.running_mean             norms[0].mean                    (statistics)
    projector.3.weight                   layers[1].kernel
    projector.6.weight                   layers[2].kernel

Places count every module, ReLUs too: Linear, BatchNorm, ReLU for each hidden width, then a Linear; Barlow Twins'
Linears have no bias, VICReg's all but the last one have. Axes are changed as `torch_layout` says.
"""

from collections.abc import Mapping
import re
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import state_dict
from barlow_jax.interop.state_dict import Place, listed

PREFIX = "projector."
_KEY = re.compile(r"^(?:module\.)?projector\.")


class Shape(NamedTuple):
    """What `config.network` says of it, in its own keys."""

    projector: tuple[int, ...]  # widths
    projector_batch_norm: bool
    projector_biases: str  # "none", "hidden" or "all"
    projector_output_norm: bool


class Projector(NamedTuple):
    """One as `networks.heads.Projector` has it."""

    inputs: int  # H
    shape: Shape
    params: dict[str, Any]  # nested, float32, as under "projector" in what `Network.init` makes
    batch_stats: dict[str, Any]  # likewise; {} without BatchNorm
    ignored: list[str]  # keys that were left out: torch's counters of batches


def from_torch(tensors: Mapping[str, np.ndarray]) -> Projector:
    """The projector in a state dict whose keys all start with "projector." or "module.projector.".

    Raises:
      UserError: it is none as above; names each key that is unknown, missing or of another shape.
    """
    found = {_KEY.sub(PREFIX, key): key for key in tensors}
    inputs, shape = _identify({key: np.shape(tensors[own]) for key, own in found.items()})
    layout = _layout(inputs, shape)
    problems = [f"{own}: unknown" for key, own in found.items() if key not in layout]
    problems += state_dict.misfits(layout, found, tensors)
    if problems:
        widths = ", ".join(map(str, shape.projector))
        raise UserError(listed(f"not a projector of widths {widths} on {inputs} features", problems))
    trees = state_dict.read(layout, found, tensors)
    return Projector(inputs, shape, *trees, [own for key, own in found.items() if not layout[key].path])


def to_torch(params: Any, batch_stats: Any) -> dict[str, np.ndarray]:
    """The state dict of a projector, in torch's order, its keys starting with "projector.".

    Args:
      params: nested dict as under "projector" in what `Network.init` makes.
      batch_stats: likewise.
    """
    layers = [params["layers"][i] for i in range(len(params["layers"]))]
    with_bias = ["bias" in layer for layer in layers]
    biases = "all" if with_bias[-1] else "hidden" if any(with_bias) else "none"
    widths = tuple(np.shape(layer["kernel"])[1] for layer in layers)
    shape = Shape(widths, bool(params.get("norms")), biases, "output_norm" in batch_stats)
    return state_dict.write(_layout(np.shape(layers[0]["kernel"])[0], shape), params, batch_stats)


def _layout(inputs: int, shape: Shape) -> dict[str, Place]:
    layout, place, last = {}, 0, len(shape.projector) - 1
    for index, width in enumerate(shape.projector):
        layer = {f"{PREFIX}{place}.weight": Place(("layers", index, "kernel"), (width, inputs))}
        if shape.projector_biases == "all" or (shape.projector_biases == "hidden" and index < last):
            layer[f"{PREFIX}{place}.bias"] = Place(("layers", index, "bias"), (width,))
        layout |= layer
        if index < last and shape.projector_batch_norm:
            layout |= state_dict.norm(f"{PREFIX}{place + 1}", ("norms", index), width)
        place += 3 if shape.projector_batch_norm else 2
        inputs = width
    if shape.projector_output_norm:
        # Nothing lies between the last Linear and it.
        after = place - (2 if shape.projector_batch_norm else 1)
        layout |= state_dict.norm(f"{PREFIX}{after}", ("output_norm",), inputs, affine=False)
    return layout


def _identify(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, Shape]:
    """What most of the keys speak for; what else is wrong is told once it is known."""
    linears = sorted(
        int(match[1])
        for key, shape in shapes.items()
        if (match := re.fullmatch(r"projector\.(\d+)\.weight", key)) and len(shape) == 2
    )
    if not linears:
        raise UserError(listed("no projector of Linears; its keys are", shapes))
    of = [shapes[f"{PREFIX}{place}.weight"] for place in linears]
    with_bias = [f"{PREFIX}{place}.bias" in shapes for place in linears]
    biases = "all" if with_bias[-1] else "hidden" if any(with_bias) else "none"
    between = range(
        linears[0] + 1, linears[-1]
    )  # none of one Linear, whose hidden layers have what one likes
    batch_norm = not between or any(f"{PREFIX}{place}.running_mean" in shapes for place in between)
    output_norm = f"{PREFIX}{linears[-1] + 1}.running_mean" in shapes
    return of[0][1], Shape(tuple(out for out, _ in of), batch_norm, biases, output_norm)
