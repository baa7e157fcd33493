"""State dicts of torch, and where each of their tensors stands in our nested dicts.

A convolution's kernel is `[out, in, k, k]` there and `[k, k, in, out]` here, a Linear's weight `[out, in]` there and
`[in, out]` here; everything else keeps its shape. Nothing is computed, so both directions together change no bit.
Training moves torch's running variances by the unbiased variance of a batch and ours by the biased one; the arrays
mean the same.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Of a BatchNorm, there and here.
NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
COUNTER = "num_batches_tracked"
_TO_OURS, _TO_TORCHS = {4: (2, 3, 1, 0), 2: (1, 0)}, {4: (3, 2, 0, 1), 2: (1, 0)}  # axes, by their number


class Place(NamedTuple):
    """Where a tensor stands here."""

    path: tuple[
        str | int, ...
    ]  # in params or batch_stats; empty for a counter of batches, which has no place
    shape: tuple[int, ...]  # torch's

    def tree(self, params: Any, batch_stats: Any) -> Any:
        return batch_stats if self.path[-1] in ("mean", "var") else params


Layout = Mapping[str, Place]  # by torch's key, in torch's order


def norm(key: str, path: tuple[str | int, ...], width: int, *, affine: bool = True) -> dict[str, Place]:
    """A BatchNorm; without scale and shift if not `affine`."""
    names = {theirs: ours for theirs, ours in NORM.items() if affine or theirs.startswith("running")}
    places = {f"{key}.{theirs}": Place((*path, ours), (width,)) for theirs, ours in names.items()}
    return places | {f"{key}.{COUNTER}": Place((), ())}


def misfits(layout: Layout, found: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """One phrase for each tensor that is missing, or of another shape.

    Args:
      layout: of what should be there.
      found: the keys of `tensors` by those of the layout.
      tensors: by their own keys.
    """
    problems = []
    for key, place in layout.items():
        if not place.path:
            continue
        if key not in found:
            problems.append(f"{key}: missing")
        elif (shape := np.shape(tensors[found[key]])) != place.shape:
            problems.append(f"{found[key]}: is {list(shape)}, needs {list(place.shape)}")
    return problems


def read(
    layout: Layout, found: Mapping[str, str], tensors: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and running statistics as nested dicts of float32 arrays; arguments as of `misfits`."""
    params, batch_stats = {}, {}
    for key, place in layout.items():
        if place.path:
            array = np.asarray(tensors[found[key]])
            array = array.transpose(_TO_OURS.get(array.ndim))
            _set(place.tree(params, batch_stats), place.path, np.array(array, np.float32, order="C"))
    return params, batch_stats


def write(layout: Layout, params: Any, batch_stats: Any) -> dict[str, np.ndarray]:
    """The inverse; counters of batches, which we do not have, are 0."""
    tensors = {}
    for key, place in layout.items():
        if place.path:
            array = np.asarray(_get(place.tree(params, batch_stats), place.path))
            tensors[key] = np.array(array.transpose(_TO_TORCHS.get(array.ndim)), order="C")
        else:
            tensors[key] = np.zeros([], np.int64)
    return tensors


def listed(title: str, lines: Iterable[str]) -> str:
    return "\n  ".join([title + ":", *(lines or ["none"])])


def _get(tree: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _set(tree: dict, path: tuple[str | int, ...], leaf: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = leaf
