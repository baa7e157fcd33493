"""Resized parts of a padded image against Pillow's crop and resize."""

from functools import partial

import jax
import numpy as np
from PIL import Image
import pytest

from barlow_jax.data.resize import Box, evaluation_crop, resize

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


def test_a_window_of_the_result_is_cut_out_of_it(images):
    canvas, box = _on_canvas(images[0]), Box(*np.array([2, 3, 50, 57], np.int32))
    whole = resize(canvas, box, (40, 30), "bilinear")
    part = resize(canvas, box, (40, 30), "bilinear", window=((5, 20), (2, 16)))
    np.testing.assert_array_equal(part, whole[5:25, 2:18])


# Margins of 9 and 11 pixels, among others: half of them is rounded to the even side.
@pytest.mark.parametrize(
    "shape", [(160, 200), (200, 160), (70, 90), (64, 64), (65, 80), (64, 65), (67, 64)], ids=str
)
def test_the_evaluation_crop_is_torchvisions(images, shape):
    image = np.ascontiguousarray(np.resize(images[0], (*shape, 3)))
    canvas = np.zeros((224, 224, 3), np.uint8)
    canvas[: shape[0], : shape[1]] = image
    ours = jax.jit(partial(evaluation_crop, resize_to=64, size=56))(canvas, np.array(shape, np.int32))
    height, width = (side * 64 // min(shape) for side in shape)
    pillow = (
        Image.fromarray(image)
        .resize((width, shape[0]), Image.BILINEAR)
        .resize((width, height), Image.BILINEAR)
    )
    top, left = round((height - 56) / 2), round((width - 56) / 2)
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(pillow)[top : top + 56, left : left + 56])
    # Between such sizes 3 sums in 100 are a half exactly (of a pass over noise), and Pillow's last bit
    # decides them.
    assert difference.max() <= 1 and np.mean(difference > 0) <= 0.02
