"""Compares the Gaussian blur with Pillow's, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageFilter
import pytest

from barlow_jax.augment import blur
from barlow_jax.config import recipe


def _blur(image, sigma, max_sigma=2.0):
    """Blur with the uniform that gives this sigma."""
    op = recipe.Blur(1.0, 0.0, max_sigma)
    return np.asarray(
        jax.jit(lambda x, u: blur.blur(x, u, op))(jnp.asarray(image, jnp.float32), sigma / max_sigma)
    )


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.5, 2.0])
def test_blur_is_pillows_gaussian_blur_bit_for_bit(images, sigma):
    for image in images:
        pillow = Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))
        np.testing.assert_array_equal(_blur(image, np.float32([sigma])), pillow)


@pytest.mark.parametrize(("shape", "sigma"), [((1, 1), 1.2), ((2, 3), 2.0), ((5, 40), 7.3), ((32, 32), 7.3)])
def test_small_images_and_large_sigmas(shape, sigma):
    """The border is repeated in each pass, and boxes may be wider than the image."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pillow = Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))
    np.testing.assert_array_equal(_blur(image, np.float32([sigma]), 8.0), pillow)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.3, 2.0, 5.0])
def test_three_boxes_have_the_variance_of_sigma(sigma):
    radius, *weights = map(float, blur.box(jnp.float32(sigma)))
    inside, outside = np.array(weights) / 2**24
    offsets = np.arange(-radius, radius + 1)
    np.testing.assert_allclose(len(offsets) * inside + 2 * outside, 1, atol=1e-6)
    variance = inside * np.sum(offsets**2) + 2 * outside * (radius + 1) ** 2
    np.testing.assert_allclose(3 * variance, sigma**2, rtol=1e-4)
