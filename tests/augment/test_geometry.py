"""Compares crop boxes with the host's, and flip and rotation with Pillow's."""

import jax
import numpy as np
from PIL import Image
import pytest

from barlow_jax.augment import geometry
from barlow_jax.config import recipe

SMALL = recipe.Crop(min_area=0.05, max_area=0.14)  # SwAV's small crops
WIDE = recipe.Crop(min_area=0.3, max_area=0.6, min_aspect=1.2, max_aspect=3.0)


@pytest.mark.parametrize(
    ("shape", "op"),
    [
        *((shape, recipe.Crop()) for shape in [(375, 500), (1000, 200), (64, 64), (3, 90)]),
        ((375, 500), SMALL),
        ((375, 500), WIDE),
        ((3, 90), WIDE),
    ],
)
def test_the_boxes_are_the_hosts_for_the_same_uniforms(shape, op):
    """The host's follow torchvision's distribution (tests/data/test_crop_distribution.py)."""
    import distributions

    u = np.random.default_rng(0).random((4000, 22), dtype=np.float32)
    boxes = jax.jit(jax.vmap(lambda u: geometry.crop_box(np.array(shape, np.int32), u, op)))(u)
    difference = np.abs(np.array(boxes, float) - distributions.boxes(u, shape, op))
    assert difference.max() <= 1 and np.mean(difference > 0) < 1e-3, "logarithms round differently"


@pytest.mark.parametrize("u", [0.0, 0.2, 0.5, 0.99])
def test_rotation_is_pillows_bilinear_one(images, u):
    op, degrees = recipe.Rotate(1.0, max_degrees=30), -30 + 60 * u
    for image in images[:3]:
        pillow = np.asarray(Image.fromarray(image).rotate(degrees, Image.BILINEAR)).astype(int)
        # Only the inside: Pillow cuts the outermost half pixel off, ours blends it with black.
        height, width, _ = image.shape
        mask = np.pad(np.full((height - 4, width - 4), 255, np.uint8), 2)
        inside = np.asarray(Image.fromarray(mask).rotate(degrees, Image.BILINEAR)) == 255
        rotated = geometry.rotate(image.astype(np.float32), np.array([u]), op)
        assert np.abs(np.asarray(rotated) - pillow)[inside].max() <= 1
        assert inside.mean() > 0.6


def test_a_flip_is_left_to_right(images):
    np.testing.assert_array_equal(geometry.flip(images[0], None, recipe.Flip()), images[0][:, ::-1])
