"""Pillow's antialiased resize of a part of a larger image in JAX, as products with banded matrices.

A pass is a product with a matrix `[size, side]` that is 0 outside of the part, so that no shape depends on the
part's. As in Pillow, levels are rounded after the pass along the width and again after the one along the height.
(Pillow from 12 on takes the height first where that is less work; the versions that the papers' numbers are from
do not.) Weights are whole multiples of 2^-15, where Pillow's are of 2^-22: so many bits and a level's fit into a
float32, and sums are exact in any order: views do not depend on how many devices share a batch. Where a sum is next
to a half this costs a level (6 in 10 000 of the levels of a photograph).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_ONE = 2.0**15


class Box(NamedTuple):
    """A part of an image, in whole pixels; int32."""

    top: jax.Array
    left: jax.Array
    height: jax.Array  # at least 1
    width: jax.Array


def resize(
    image: jax.Array,
    box: Box,
    shape: tuple[jax.Array | int, jax.Array | int],
    method: str,
    *,
    window: tuple[tuple[jax.Array | int, int], tuple[jax.Array | int, int]] | None = None,
) -> jax.Array:
    """A part of an image, resized; or a window of the result.

    Args:
      image: `[rows, columns, 3]` uint8 levels.
      box: the part, within the image.
      shape: height and width that it is resized to.
      method: "bicubic" (a = -1/2) or "bilinear".
      window: (first, number) of the result's rows and of its columns that are made; all of them by default,
        where the shape is known.

    Returns:
      `[height, width, 3]` uint8 levels, of the window.
    """
    rows, columns = image.shape[:2]
    down, across = window or ((0, shape[0]), (0, shape[1]))
    along_width = _weights(across, shape[1], box.left, box.width, columns, method)
    along_height = _weights(down, shape[0], box.top, box.height, rows, method)
    return _pass("hoc,vh->voc", _pass("hwc,ow->hoc", image, along_width), along_height)


def _weights(
    window: tuple[jax.Array | int, int],
    size: jax.Array | int,
    start: jax.Array,
    length: jax.Array,
    side: int,
    method: str,
) -> jax.Array:
    """`[O, side]` float32: what each pixel of a line weighs in each of O of the new ones.

    The line has `side` pixels, of which `length` from `start` on become `size` new ones.
    """
    first, number = window
    pixels = jnp.arange(side) - start
    places = first + jnp.arange(number)[:, None]
    # The distance of both centres, a whole number in these units: rounded once, by the division.
    distance = (2 * places + 1) * length - size * (2 * pixels + 1)
    reach = 2 * jnp.maximum(length, size)  # of one pixel, of the old or of the new size: the larger
    weight = _FILTERS[method](jnp.abs(distance).astype(jnp.float32), reach.astype(jnp.float32))
    weight = jnp.where((pixels >= 0) & (pixels < length), weight, 0.0)
    weight = jnp.round(weight / weight.sum(axis=1, keepdims=True) * _ONE)
    # What rounding left over is given to the pixel in the middle: an even surface keeps its level.
    middle = (2 * places + 1) * length // (2 * size)
    return (weight + jnp.where(pixels == middle, _ONE - weight.sum(axis=1, keepdims=True), 0.0)) / _ONE


# As yet without a unit, and whole: their sum is exact in any order. So is all but the rounded products below, for
# what a device that multiplies and adds in one makes of other sums depends on what they are compiled with.


def _bilinear(distance: jax.Array, reach: jax.Array) -> jax.Array:
    return jnp.maximum(reach - distance, 0.0)


def _bicubic(distance: jax.Array, reach: jax.Array) -> jax.Array:
    """Keys's with a = -1/2: 3/2 x^3 - 5/2 x^2 + 1 up to 1, -1/2 x^3 + 5/2 x^2 - 4 x + 2 up to 2; in 2^-18."""
    one = 2.0**18
    x = distance / reach
    square = jnp.round(x * x * one)
    cube = jnp.round(x * square)
    inner = 1.5 * cube - 2.5 * square + one
    outer = 2.5 * square - 0.5 * cube - 4.0 * one * x + 2.0 * one
    return jnp.round(jnp.where(x < 1.0, inner, jnp.where(x < 2.0, outer, 0.0)))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _pass(equation: str, levels: jax.Array, weights: jax.Array) -> jax.Array:
    # A weight has more bits than a bfloat16: on a TPU this is several products.
    sums = jnp.einsum(equation, levels.astype(jnp.float32), weights, precision="highest")
    return jnp.clip(jnp.floor(sums + 0.5), 0.0, 255.0).astype(jnp.uint8)
