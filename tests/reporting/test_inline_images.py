"""Encoded images, decoded again by Pillow."""

import base64
import io
import re

import numpy as np
from PIL import Image
import pytest

from barlow_jax.reporting import inline_images


def _decoded(url):
    image_format, data = re.fullmatch(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", url).groups()
    return image_format, Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_image_is_lossless():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image_format, back = _decoded(inline_images.data_url(image))
    assert image_format == "png" and np.array_equal(np.asarray(back), image)


def test_a_photograph_is_a_jpeg_of_at_most_160_pixels():
    smooth = np.linspace(0, 255, 300 * 200 * 3).reshape(300, 200, 3).astype(np.uint8)
    image_format, back = _decoded(inline_images.data_url(smooth))
    assert image_format == "jpeg" and back.size == (107, 160)


def test_heat_map_color_is_the_sign_and_opacity_the_magnitude():
    matrix = np.array([[-1.0, -0.5, 0.0], [0.25, 1.0, np.nan], [2.0, -3.0, 0.1]])
    (url,) = re.findall(r'src="([^"]+)"', inline_images.heat_map(matrix, "C"))
    _, back = _decoded(url)
    pixels = np.asarray(back.convert("RGBA"), np.float64)
    expected = np.clip(np.abs(matrix), 0, 1)
    finite = np.isfinite(matrix)
    np.testing.assert_allclose(pixels[finite, 3] / 255, expected[finite], atol=0.5 / 127 + 0.5 / 255)
    red_over_blue = pixels[..., 0] - pixels[..., 2]
    assert np.array_equal(
        np.sign(red_over_blue[finite & (matrix != 0)]), np.sign(matrix[finite & (matrix != 0)])
    )
    assert tuple(pixels[1, 2]) == (0, 160, 0, 255), "values that are not finite are visible"


@pytest.mark.parametrize(("size", "tiny"), [(8, True), (48, True), (96, False)])
def test_tiny_images_keep_square_pixels(size, tiny):
    tile = inline_images.tile(np.zeros((size, size, 3), np.uint8), 'a "quoted" <word>')
    assert ('class="tiny"' in tile) == tiny and 'alt="a &#34;quoted&#34; &lt;word&gt;"' in tile
