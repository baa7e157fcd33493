"""Conversion between torch's state dicts and this package's nested dicts of arrays.

A convolution kernel is `[out, in, k, k]` in torch and `[k, k, in, out]` here; a Linear's weight is `[out,
in]` in torch and `[in, out]` here, or `[in, heads, width]` and its inverse in an attention; everything else
keeps its shape. Only axes move and arrays are concatenated, so a round trip changes no bit. torch updates
running variances with the unbiased variance of a batch and this package with the biased one; both estimate
the same quantity.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import math
import re
from typing import Any, NamedTuple

from flax import nnx
from flax.traverse_util import unflatten_dict
import jax
import numpy as np

Arrays = Mapping[str, np.ndarray]
COUNTER = "num_batches_tracked"  # torch's counter of a BatchNorm's batches
# Names of a layer's arrays here and in torch.
_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


class Entry(NamedTuple):
    """One tensor of a file, and the arrays here that it holds."""

    paths: tuple[str, ...]  # of the arrays here, which the file concatenates; () for a counter of batches
    shapes: tuple[tuple[int, ...] | None, ...]  # of these arrays; None = zeros in the file, nothing here
    shape: tuple[int, ...]  # in the file
    drops_class: bool = False  # the file has no position of the class token


Layout = Mapping[str, Entry]  # by the file's keys


def module_shapes(build: Callable[..., nnx.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of parameters and running statistics of `build(rngs=...)`, by path: "norm.scale"."""
    state = nnx.state(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), nnx.Any(nnx.Param, nnx.BatchStat))
    return {path: leaf.shape for path, leaf in _flatten(nnx.to_pure_dict(state)).items()}


def expand_row(
    key: str, path: str, like: str, shapes: Mapping[str, tuple[int, ...]], dims: str = ""
) -> Iterator[tuple[str, Entry]]:
    """Yield the file's keys and entries for one row of a table (`layout_tables`).

    Args:
      key: key of the row.
      path: path of an array, or of a layer, whose arrays have keys of their own.
      like: path of the same array or layer in a block that `shapes` has.
      shapes: shapes by path.
      dims: option of the row on the file's shape.
    """
    layers = {name.rpartition(".")[0] for name in shapes}
    for leaf in ("", *_NAMES):
        pairs = list(zip(_members(path, leaf), _members(like, leaf), strict=True))
        if not any(name in shapes for _, name in pairs):
            continue
        pairs = [pair for pair in pairs if pair[1] in shapes or pair[1].rpartition(".")[0] in layers]
        ours = tuple(shapes.get(name) for _, name in pairs)
        full = [
            _to_torch(np.empty(size, np.void), name).shape
            for size, (_, name) in zip(ours, pairs, strict=True)
            if size
        ]
        shape = full[0] if len(pairs) == 1 else (len(pairs) * full[0][0], *full[0][1:])
        if dims == "patches":
            shape = (1, shape[1] - 1, shape[2])
        elif dims:
            sizes = iter(size for size in shape if size != 1)
            shape = tuple(1 if letter == "1" else next(sizes) for letter in dims)
        joint = "" if not leaf or key.endswith("_") else "."
        yield (
            key + joint + _NAMES.get(leaf, ""),
            Entry(tuple(name for name, _ in pairs), ours, shape, dims == "patches"),
        )
        if leaf == "var":
            yield f"{key}.{COUNTER}", Entry((), (), ())


def mismatches(layout: Layout, keys: Mapping[str, str], tensors: Arrays) -> list[str]:
    """Return one phrase for each tensor that is missing or has another shape.

    Args:
      layout: the expected tensors.
      keys: keys of `tensors`, by the keys of the layout.
      tensors: arrays by their own keys.
    """
    problems = []
    for key, entry in layout.items():
        if not entry.paths:
            continue
        if key not in keys:
            problems.append(f"{key}: missing")
        elif (shape := np.shape(tensors[keys[key]])) != entry.shape:
            problems.append(f"{keys[key]}: has shape {list(shape)}, expected {list(entry.shape)}")
    return problems


def read(
    layout: Layout, keys: Mapping[str, str], tensors: Arrays
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return parameters and running statistics as nested dicts of float32 arrays, and the unused keys.

    The arguments are those of `mismatches`.
    """
    params, batch_stats, used = {}, {}, {keys[key] for key, entry in layout.items() if entry.paths}
    for key, entry in layout.items():
        if entry.paths:
            for path, array in _arrays(np.asarray(tensors[keys[key]]), entry):
                names = tuple(int(name) if name.isdigit() else name for name in path.split("."))
                (batch_stats if path.endswith((".mean", ".var")) else params)[names] = array
    unused = [key for key in tensors if key not in used]
    return unflatten_dict(params), unflatten_dict(batch_stats), unused


def write(layout: Layout, params: Any, batch_stats: Any) -> dict[str, np.ndarray]:
    """Return torch's state dict, the inverse of `read`; counters of batches are 0."""
    arrays, tensors = _flatten(params) | _flatten(batch_stats), {}
    for key, entry in layout.items():
        if not entry.paths:
            tensors[key] = np.zeros([], np.int64)
            continue
        like = next(shape for shape in entry.shapes if shape)
        parts = [_to_torch(np.asarray(arrays.get(p, np.zeros(like, np.float32))), p) for p in entry.paths]
        parts = [part[:, 1:] if entry.drops_class else part for part in parts]
        tensors[key] = np.array(np.concatenate(parts).reshape(entry.shape), order="C")
    return tensors


def bullet_list(title: str, lines: Iterable[str]) -> str:
    """Return a title and indented lines."""
    return "\n  ".join([title + ":", *(lines or ["none"])])


def _flatten(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _members(path: str, leaf: str) -> list[str]:
    """Expand the brackets of a path: "attention.(query,key)" and "bias" are two arrays."""
    path = f"{path}.{leaf}".rstrip(".")
    match = re.search(r"\((.*)\)", path)
    return [path.replace(match[0], name) for name in match[1].split(",")] if match else [path]


def _to_torch(array: np.ndarray, path: str) -> np.ndarray:
    """Return an array with torch's axes: kernels are `[out, in, ...]`, heads are concatenated."""
    if path.endswith("kernel"):
        if array.ndim == 3:
            array = array.reshape([math.isqrt(array.size)] * 2)
        return array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
    return array.reshape(-1) if path.endswith("bias") else array


def _arrays(array: np.ndarray, entry: Entry) -> Iterator[tuple[str, np.ndarray]]:
    """Yield path and array here for each part of a tensor of the file; inverse of `_to_torch`."""
    if entry.drops_class:
        array = np.concatenate([np.zeros_like(array[:, :1]), array], axis=1)
    for path, shape, part in zip(entry.paths, entry.shapes, np.split(array, len(entry.paths)), strict=True):
        if shape is not None:
            if path.endswith("kernel"):
                part = part.reshape(_to_torch(np.empty(shape, np.void), path).shape)
                part = part.transpose((2, 3, 1, 0) if part.ndim == 4 else (1, 0))
            yield path, np.array(part.reshape(shape), np.float32, order="C")
