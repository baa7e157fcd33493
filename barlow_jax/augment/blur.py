"""PIL's GaussianBlur in JAX, bit for bit: three extended box blurs per axis, as matrix products."""

import math

import jax
from jax.experimental.layout import Layout, with_layout_constraint
import jax.numpy as jnp
import numpy as np

from barlow_jax.config import recipe
from barlow_jax.data.op_uniforms import blur_sigma

_ONE = 2**24  # Pillow's fixed-point weights are multiples of 1 / _ONE


def blur(image: jax.Array, u: jax.Array, op: recipe.Blur, top: float = 255.0) -> jax.Array:
    """Blur `[height, width, C]` float32 values; whole pixel values (top 255) are rounded after each pass.

    A pass sums the pixels inside the box, and the two at its ends with a smaller weight. Both sums are
    products with banded matrices of small whole numbers: 0, 1 and, where the border is repeated, a few more.
    bfloat16 represents them exactly, so the matrix unit's sums are exact. Weights are Pillow's 32-bit fixed
    point.
    """
    radius, *weights = box(blur_sigma(u, op))
    max_radius = int(math.sqrt(4.0 * op.max_sigma**2 + 1.0) - 1.0) // 2 + 1
    for equation, length in (("hwc,vw->hvc", image.shape[1]), ("hwc,vh->vwc", image.shape[0])):
        bands = band_matrices(radius, max_radius, length)
        for _ in range(3):
            image = _box_blur(image, equation, bands, weights, top)
    return image


def box(sigma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a box kernel with fractional ends and variance sigma^2 / 3 (Gwosdek et al. 2011).

    Returns:
      Float32 scalars: the radius in whole pixels, the weight of the pixels inside and the weight of the two
      ends, in units of 2^-24.
    """
    variance = jnp.square(sigma) / 3.0
    radius = jnp.floor((jnp.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    # Weight of the two ends, relative to the pixels inside, that gives exactly this variance.
    numerator = (2 * radius + 1) * (radius * (radius + 1) - 3.0 * variance)
    end = numerator / (6.0 * (variance - jnp.square(radius + 1)))
    inside = jnp.floor(_ONE / (2 * (radius + end) + 1))
    outside = jnp.floor((_ONE - (2 * radius + 1) * inside) / 2)
    return radius, inside, outside


def band_matrices(radius: jax.Array, max_radius: int, length: int) -> tuple[jax.Array, jax.Array]:
    """Return two `[length, length]` bfloat16 matrices that count pixel j in pixel i's box and at its ends."""
    rows, columns = np.indices((length, length))
    inside = ends = jnp.zeros((length, length), jnp.float32)
    for offset in range(-max_radius, max_radius + 1):
        shifted = (columns == np.clip(rows + offset, 0, length - 1)).astype(np.float32)
        inside += jnp.where(abs(offset) <= radius, shifted, 0.0)
        ends += jnp.where(abs(offset) == radius + 1, shifted, 0.0)
    return inside.astype(jnp.bfloat16), ends.astype(jnp.bfloat16)


def _box_blur(
    image: jax.Array, equation: str, bands: tuple[jax.Array, jax.Array], weights: list[jax.Array], top: float
) -> jax.Array:
    if top != 255:
        kernel = sum(band * (weight / _ONE) for band, weight in zip(bands, weights, strict=True))
        return jnp.einsum(equation, image, kernel, precision="highest")
    total = jnp.uint32(_ONE // 2)
    for band, weight in zip(bands, weights, strict=True):
        sums = jnp.einsum(equation, image.astype(jnp.bfloat16), band, preferred_element_type=jnp.float32)
        total += sums.astype(jnp.uint32) * weight.astype(jnp.uint32)
    # Channels first, as the products need it. Otherwise the TPU compiler uses the layout of the ops around
    # the blur, batch last, and copies before and after every product: twice the time of the whole
    # augmentation.
    return with_layout_constraint((total // _ONE).astype(jnp.float32), Layout((2, 0, 1)))
