"""Resized parts of a padded image against Pillow's crop and resize."""

from functools import partial

import jax
import numpy as np
from PIL import Image
import pytest

from barlow_jax.augment.geometry import Box, resize

SIDE = 224
METHODS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# Smaller than the result and larger, a pixel, a strip, the result's own size, all of it.
BOXES = [(3, 5, 40, 50), (0, 20, 131, 150), (7, 7, 1, 1), (60, 0, 2, 180), (10, 20, 64, 64), (0, 0, 160, 200)]


def _on_canvas(image):
    canvas = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)  # must not be seen
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def _by_pillow(image, box, size, method):
    """Along the width and then along the height, as all versions of Pillow did until 12."""
    top, left, height, width = box
    part = Image.fromarray(image[top : top + height, left : left + width])
    return np.asarray(part.resize((size, height), METHODS[method]).resize((size, size), METHODS[method]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "fraction"), [(64, 0.01), (9, 0.02)])
def test_a_part_of_a_canvas_is_resized_as_by_pillow(images, method, size, fraction):
    """A sum of n weights is off by 2^-15 (n / 12)^1/2: 0.01 for pixel values of 130 at n = 80, size 9."""
    ours = jax.jit(partial(resize, shape=(size, size), method=method))
    different = []
    for image in images[:3]:
        boxes = [
            box for box in BOXES if box[0] + box[2] <= image.shape[0] and box[1] + box[3] <= image.shape[1]
        ]
        for box in boxes:
            made = np.asarray(ours(_on_canvas(image), Box(*np.array(box, np.int32)))).astype(int)
            different.append(np.abs(made - _by_pillow(image, box, size, method)))
    assert max(difference.max() for difference in different) <= 2
    assert np.mean([np.mean(difference > 0) for difference in different]) <= fraction


def test_what_keeps_its_size_keeps_its_pixel_values(images):
    for image in images[:2]:
        box = Box(*np.array([8, 16, 48, 48], np.int32))
        np.testing.assert_array_equal(
            resize(_on_canvas(image), box, (48, 48), "bicubic"), image[8 : 8 + 48, 16 : 16 + 48]
        )
