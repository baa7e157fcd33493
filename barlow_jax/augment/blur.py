"""PIL's GaussianBlur in JAX, bit for bit: three extended box passes an axis, as matrix products."""

import math

import jax
from jax.experimental.layout import Layout, with_layout_constraint
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.color import between
from barlow_jax.config import recipe

_ONE = 2**24  # Pillow's unit of a weight


def blur(image: jax.Array, u: jax.Array, op: recipe.Blur) -> jax.Array:
    """GaussianBlur of `[height, width, 3]` float32 levels, rounded to levels after each pass.

    A pass sums the pixels inside of the box and the two at its ends, which weigh less. Both sums are products
    with banded matrices of 0, 1 and, where the border is repeated, a few more: whole numbers that bfloat16
    holds, and so the matrix unit's sums are exact. The weights are Pillow's fixed point, in 32 bits.
    """
    whole, *weights = box(blur_sigma(u, op))
    reach = int(math.sqrt(4.0 * op.max_sigma**2 + 1.0) - 1.0) // 2 + 1  # that the largest sigma needs
    for equation, length in (("hwc,vw->hvc", image.shape[1]), ("hwc,vh->vwc", image.shape[0])):
        bands = band_matrices(whole, reach, length)
        for _ in range(3):
            image = _pass(image, equation, bands, weights)
    return image


def blur_sigma(u: jax.Array, op: recipe.Blur) -> jax.Array:
    """Pixels: U(min_sigma, max_sigma)."""
    return between(u[0], op.min_sigma, op.max_sigma)


def box(sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A box with fractional ends and variance sigma^2 / 3 (Gwosdek et al. 2011).

    Its whole pixels to each side of the middle, and what these and the ends weigh in units of 2^-24; float32.
    """
    variance = jnp.square(sigma) / 3.0
    whole = jnp.floor((jnp.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    # What the two ends must weigh, against 1 inside, for the variance to come out exactly.
    end = (
        (2 * whole + 1) * (whole * (whole + 1) - 3.0 * variance) / (6.0 * (variance - jnp.square(whole + 1)))
    )
    inside = jnp.floor(_ONE / (2 * (whole + end) + 1))
    outside = jnp.floor((_ONE - (2 * whole + 1) * inside) / 2)
    return whole, inside, outside


def band_matrices(whole: jax.Array, reach: int, length: int) -> tuple[jax.Array, jax.Array]:
    """Two `[length, length]` bfloat16: how often pixel j is inside of pixel i's box, and at its ends."""
    rows, columns = np.indices((length, length))
    inside = ends = jnp.zeros((length, length), jnp.float32)
    for offset in range(-reach, reach + 1):
        shifted = (columns == np.clip(rows + offset, 0, length - 1)).astype(np.float32)
        inside += jnp.where(abs(offset) <= whole, shifted, 0.0)
        ends += jnp.where(abs(offset) == whole + 1, shifted, 0.0)
    return inside.astype(jnp.bfloat16), ends.astype(jnp.bfloat16)


def _pass(
    image: jax.Array, equation: str, bands: tuple[jax.Array, jax.Array], weights: list[jax.Array]
) -> jax.Array:
    total = jnp.uint32(_ONE // 2)
    for band, weight in zip(bands, weights, strict=True):
        levels = jnp.einsum(equation, image.astype(jnp.bfloat16), band, preferred_element_type=jnp.float32)
        total += levels.astype(jnp.uint32) * weight.astype(jnp.uint32)
    # Channel by channel, as the products want it. Left to itself the TPU's compiler takes the layout of the ops around
    # the blur, batch last, and copies before and after every product: twice the time of the whole augmentation.
    return with_layout_constraint((total // _ONE).astype(jnp.float32), Layout((2, 0, 1)))
