"""Geometric ops in JAX: crop box, flips, quarter turns and rotation.

Boxes and angles have the same distributions as on the host (`data.host_ops`), from different random streams.
"""

from functools import partial
import math

import jax
import jax.numpy as jnp

from barlow_jax.augment.color import scale_uniform
from barlow_jax.config import recipe
from barlow_jax.data.resize import Box

CROP_ATTEMPTS = 10


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
    del u, op, top
    return image[:, ::-1]


def vertical_flip(image: jax.Array, key: jax.Array, op: recipe.VerticalFlip) -> jax.Array:
    """Mirror top to bottom."""
    del key, op
    return image[::-1]


def quarter_turn(image: jax.Array, key: jax.Array, op: recipe.QuarterTurn) -> jax.Array:
    """Turn a square image by 0 to 3 quarters, counterclockwise."""
    del op
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
    rotated = jax.vmap(
        lambda channel: jax.scipy.ndimage.map_coordinates(channel, [rows, columns], order=1, mode=mode),
        in_axes=-1,
        out_axes=-1,
    )(image)
    return jnp.round(rotated) if top == 255 else rotated


def rotation(u: jax.Array, op: recipe.Rotate) -> jax.Array:
    """Return counterclockwise degrees, U(-max_degrees, max_degrees)."""
    return scale_uniform(u[0], -op.max_degrees, op.max_degrees)
