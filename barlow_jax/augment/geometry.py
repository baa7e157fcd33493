"""Geometric ops in JAX: crop box, resizing, flips, quarter turns and rotation.

Boxes and angles have the same distributions as on the host (`data.host_ops`), from different random streams.
"""

from functools import partial
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import recipe
from barlow_jax.data.op_uniforms import rotation, scale_uniform

CROP_ATTEMPTS = 10
_ONE = 2.0**15  # unit of the weights of resizing


class Box(NamedTuple):
    """Part of an image, in whole pixels (int32)."""

    top: jax.Array
    left: jax.Array
    height: jax.Array  # at least 1
    width: jax.Array


def crop_box(shape: jax.Array, u: jax.Array, op: recipe.Crop) -> Box:
    """Return RandomResizedCrop's box: the first of 10 that fits, else the largest central one."""
    rows, columns = shape[0].astype(jnp.float32), shape[1].astype(jnp.float32)
    tries = u[: 2 * CROP_ATTEMPTS].reshape(CROP_ATTEMPTS, 2)
    area = rows * columns * scale_uniform(tries[:, 0], op.min_area, op.max_area)
    aspect = jnp.exp(scale_uniform(tries[:, 1], math.log(op.min_aspect), math.log(op.max_aspect)))
    widths, heights = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)
    first, any_fits = jnp.argmax(fits), jnp.any(fits)
    # The fallback is the largest box whose aspect ratio is within the bounds.
    height = jnp.where(any_fits, heights[first], jnp.minimum(rows, jnp.round(columns / op.min_aspect)))
    width = jnp.where(any_fits, widths[first], jnp.minimum(columns, jnp.round(rows * op.max_aspect)))
    down, right = u[2 * CROP_ATTEMPTS], u[2 * CROP_ATTEMPTS + 1]
    top = jnp.where(any_fits, jnp.floor(down * (rows - height + 1)), jnp.floor((rows - height) / 2))
    left = jnp.where(any_fits, jnp.floor(right * (columns - width + 1)), jnp.floor((columns - width) / 2))
    return Box(*(value.astype(jnp.int32) for value in (top, left, height, width)))


def flip(image: jax.Array, u: jax.Array, op: recipe.Flip, top: float = 255.0) -> jax.Array:
    """Mirror left to right."""
    return image[:, ::-1]


def vertical_flip(image: jax.Array, key: jax.Array, op: recipe.VerticalFlip) -> jax.Array:
    """Mirror top to bottom."""
    return image[::-1]


def quarter_turn(image: jax.Array, key: jax.Array, op: recipe.QuarterTurn) -> jax.Array:
    """Turn a square image by 0 to 3 quarters, counterclockwise."""
    turns = [partial(jnp.rot90, k=quarters) for quarters in range(4)]
    return jax.lax.switch(jax.random.randint(key, (), 0, 4), turns, image)


def rotate(image: jax.Array, u: jax.Array, op: recipe.Rotate, top: float = 255.0) -> jax.Array:
    """Rotate `[height, width, C]` float32 values about the center; bilinear."""
    angle = rotation(u, op) * (math.pi / 180)
    height, width = image.shape[:2]
    down, right = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij"
    )
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = sin * right + cos * down + (height - 1) / 2
    columns = cos * right - sin * down + (width - 1) / 2
    mode = {"black": "constant", "reflect": "reflect"}[op.outside]
    read = partial(jax.scipy.ndimage.map_coordinates, coordinates=[rows, columns], order=1, mode=mode)
    rotated = jax.vmap(read, in_axes=-1, out_axes=-1)(image)
    return jnp.round(rotated) if top == 255 else rotated


def resize(image: jax.Array, box: Box, shape: tuple[int, int], method: str) -> jax.Array:
    """Resize a part of a padded image with Pillow's antialiased resize, as products with banded matrices.

    A pass is a product with a matrix `[size, side]` that is 0 outside of the part, so that no array shape
    depends on the part's shape. As in Pillow, pixel values are rounded after the pass along the width and
    again after the pass along the height; float32 values are clipped to 0..1 and never rounded. (Pillow from
    12 on resizes the height first where that is less work; the versions behind the papers' numbers do not.)
    Weights are whole multiples of 2^-15 (Pillow: 2^-22). Such a weight times a pixel value fits into a
    float32, so sums are exact in any order, and views do not depend on the number of devices that share a
    batch. Where a sum is close to a half, this changes the value by 1 (6 in 10 000 pixel values of a
    photograph).

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
