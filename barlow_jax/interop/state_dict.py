"""Conversion between torch's state dicts and this package's nested dicts of arrays.

A convolution kernel is `[out, in, k, k]` in torch and `[k, k, in, out]` here; a Linear's weight is `[out,
in]` in torch and `[in, out]` here; everything else keeps its shape. Only axes move, so a round trip changes
no bit. torch updates running variances with the unbiased variance of a batch and this package with the biased
one; both estimate the same quantity.
"""

from collections.abc import Iterable, Mapping
import functools
import operator
from typing import Any, NamedTuple

import numpy as np

# Names of a BatchNorm's arrays in torch and here.
NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
COUNTER = "num_batches_tracked"
# Permutations of the axes, by their number.
_FROM_TORCH, _TO_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}, {4: (3, 2, 0, 1), 2: (1, 0)}


class Entry(NamedTuple):
    """Position of one of torch's tensors in this package's trees."""

    path: tuple[str | int, ...]  # in params or batch_stats; empty for a counter of batches, which is not kept
    shape: tuple[int, ...]  # in torch

    def tree(self, params: Any, batch_stats: Any) -> Any:
        """Return the tree that holds the array: running statistics or parameters."""
        return batch_stats if self.path[-1] in ("mean", "var") else params


Layout = Mapping[str, Entry]  # by torch's key, in torch's order


def norm(key: str, path: tuple[str | int, ...], width: int, *, affine: bool = True) -> dict[str, Entry]:
    """Return the layout of a BatchNorm, without scale and shift if not `affine`."""
    names = {theirs: ours for theirs, ours in NORM.items() if affine or theirs.startswith("running")}
    entries = {f"{key}.{theirs}": Entry((*path, ours), (width,)) for theirs, ours in names.items()}
    return entries | {f"{key}.{COUNTER}": Entry((), ())}


def mismatches(layout: Layout, keys: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return one phrase for each tensor that is missing or has another shape.

    Args:
      layout: the expected tensors.
      keys: keys of `tensors`, by the keys of the layout.
      tensors: arrays by their own keys.
    """
    problems = []
    for key, entry in layout.items():
        if not entry.path:
            continue
        if key not in keys:
            problems.append(f"{key}: missing")
        elif (shape := np.shape(tensors[keys[key]])) != entry.shape:
            problems.append(f"{keys[key]}: has shape {list(shape)}, expected {list(entry.shape)}")
    return problems


def read(
    layout: Layout, keys: Mapping[str, str], tensors: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parameters and running statistics as nested dicts of float32 arrays.

    The arguments are those of `mismatches`.
    """
    params, batch_stats = {}, {}
    for key, entry in layout.items():
        if entry.path:
            array = np.asarray(tensors[keys[key]])
            array = array.transpose(_FROM_TORCH.get(array.ndim))
            _set(entry.tree(params, batch_stats), entry.path, np.array(array, np.float32, order="C"))
    return params, batch_stats


def write(layout: Layout, params: Any, batch_stats: Any) -> dict[str, np.ndarray]:
    """Return torch's state dict, the inverse of `read`; counters of batches are 0."""
    tensors = {}
    for key, entry in layout.items():
        if entry.path:
            tree = entry.tree(params, batch_stats)
            array = np.asarray(functools.reduce(operator.getitem, entry.path, tree))
            tensors[key] = np.array(array.transpose(_TO_TORCH.get(array.ndim)), order="C")
        else:
            tensors[key] = np.zeros([], np.int64)
    return tensors


def with_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return the kernel of a first convolution for images of another number of channels.

    Each channel gets the mean of the weights of all, times old / new channels: an image whose channels are
    equal has the same activations.
    """
    mean = kernel.mean(axis=2, keepdims=True)
    return np.repeat(mean * np.float32(kernel.shape[2] / channels), channels, axis=2)


def bullet_list(title: str, lines: Iterable[str]) -> str:
    """Return a title and indented lines."""
    return "\n  ".join([title + ":", *(lines or ["none"])])


def _set(tree: dict, path: tuple[str | int, ...], leaf: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = leaf
