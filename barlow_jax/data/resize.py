"""Pillow's antialiased resize of a part of a padded image in JAX, as products with banded matrices.

A pass is a product with a matrix `[size, side]` that is 0 outside of the part, so that no array shape depends
on the part's shape. As in Pillow, pixel values are rounded after the pass along the width and again after the
pass along the height; float32 values are clipped to 0..1 and never rounded. (Pillow from 12 on resizes the
height first where that is less work; the versions behind the papers' numbers do not.) Weights are whole
multiples of 2^-15 (Pillow: 2^-22). Such a weight times a pixel value fits into a float32, so sums are exact
in any order, and views do not depend on the number of devices that share a batch. Where a sum is close to a
half, this changes the value by 1 (6 in 10 000 pixel values of a photograph).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_ONE = 2.0**15


class Box(NamedTuple):
    """Part of an image, in whole pixels (int32)."""

    top: jax.Array
    left: jax.Array
    height: jax.Array  # at least 1
    width: jax.Array


def resize(image: jax.Array, box: Box, shape: tuple[int, int], method: str) -> jax.Array:
    """Resize a part of an image.

    Args:
      image: `[rows, columns, C]`, uint8 or float32 in 0..1.
      box: the part; it lies within the image.
      shape: height and width after resizing.
      method: "bicubic" (a = -1/2) or "bilinear".

    Returns:
      `[height, width, C]`, of the image's dtype.
    """
    rows, columns = image.shape[:2]
    along_width = _weights(shape[1], box.left, box.width, columns, method)
    along_height = _weights(shape[0], box.top, box.height, rows, method)
    return _pass("hoc,vh->voc", _pass("hwc,ow->hoc", image, along_width), along_height)


def _weights(size: int, start: jax.Array, length: jax.Array, side: int, method: str) -> jax.Array:
    """Return `[size, side]` float32 weights of the pixels of a line in the new pixels.

    The line has `side` pixels; those from `start` to `start + length` are resized to `size` new ones.
    """
    pixels = jnp.arange(side)[None] - start
    new_pixels = jnp.arange(size)[:, None]
    # The distance of both centers is a whole number in these units: rounded once, by the division.
    distance = (2 * new_pixels + 1) * length - size * (2 * pixels + 1)
    reach = 2 * jnp.maximum(length, size)  # the larger of an old and a new pixel
    weight = _FILTERS[method](jnp.abs(distance).astype(jnp.float32), reach.astype(jnp.float32))
    weight = jnp.where((pixels >= 0) & (pixels < length), weight, 0.0)
    weight = jnp.round(weight / weight.sum(axis=1, keepdims=True) * _ONE)
    # The central pixel takes the rounding remainder, so that a uniform surface keeps its value.
    middle = (2 * new_pixels + 1) * length // (2 * size)
    return (weight + jnp.where(pixels == middle, _ONE - weight.sum(axis=1, keepdims=True), 0.0)) / _ONE


# Filter values are whole numbers in an arbitrary unit, so their sum is exact in any order. Everything but the
# rounded products below is exact too: the result of an inexact fused multiply-add depends on what it is
# compiled with.


def _bilinear(distance: jax.Array, reach: jax.Array) -> jax.Array:
    return jnp.maximum(reach - distance, 0.0)


def _bicubic(distance: jax.Array, reach: jax.Array) -> jax.Array:
    """Keys's filter, a = -1/2: 3/2 x^3 - 5/2 x^2 + 1 to 1, -1/2 x^3 + 5/2 x^2 - 4 x + 2 to 2; unit 2^-18."""
    one = 2.0**18
    x = distance / reach
    square = jnp.round(x * x * one)
    cube = jnp.round(x * square)
    inner = 1.5 * cube - 2.5 * square + one
    outer = 2.5 * square - 0.5 * cube - 4.0 * one * x + 2.0 * one
    return jnp.round(jnp.where(x < 1.0, inner, jnp.where(x < 2.0, outer, 0.0)))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _pass(equation: str, pixels: jax.Array, weights: jax.Array) -> jax.Array:
    # A weight has more bits than a bfloat16: a TPU needs several products.
    sums = jnp.einsum(equation, pixels.astype(jnp.float32), weights, precision="highest")
    if pixels.dtype != jnp.uint8:
        return jnp.clip(sums, 0.0, 1.0)
    return jnp.clip(jnp.floor(sums + 0.5), 0.0, 255.0).astype(jnp.uint8)
