"""Compares crop boxes with the host's, and flip and rotation with Pillow's."""

import jax
import numpy as np
from PIL import Image
import pytest
from scipy import stats

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


def test_reflected_corners_are_the_same_on_host_and_accelerator():
    """A wrong border shows in the corners, which a rotation by 30 degrees leaves empty."""
    import tensorflow as tf

    from barlow_jax.data import host_ops

    op, u = recipe.Rotate(1.0, 30.0, outside="reflect"), np.array([1.0], np.float32)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    ours = np.asarray(geometry.rotate(image.astype(np.float32), u, op))
    theirs = host_ops.rotate(tf.constant(image, tf.float32), tf.constant(u), op).numpy()
    assert np.abs(ours - theirs).max() <= 1
    bright = np.asarray(geometry.rotate(np.full((20, 20, 4), 0.5, np.float32), u, op, top=1.0))
    np.testing.assert_allclose(bright, 0.5, rtol=1e-6)


def test_quarter_turns_and_vertical_flips_on_host_and_accelerator():
    import tensorflow as tf

    from barlow_jax.data import host_ops

    wide = np.random.default_rng(0).random((8, 12, 3), dtype=np.float32)
    square = wide[:, :8]
    op, keys = recipe.QuarterTurn(), jax.random.split(jax.random.key(0), 2000)
    turned = np.asarray(jax.jit(jax.vmap(lambda key: geometry.quarter_turn(square, key, op)))(keys))
    turns = [np.all(turned == np.rot90(square, k), axis=(1, 2, 3)) for k in range(4)]
    assert np.sum(turns) == 2000 and stats.chisquare(np.sum(turns, axis=1)).pvalue > 1e-3
    for quarters in range(4):
        u = tf.constant([quarters / 4 + 0.2])
        np.testing.assert_array_equal(host_ops.quarter_turn(wide, u, op), np.rot90(wide, quarters))
    for flipped in (
        geometry.vertical_flip(wide, keys[0], recipe.VerticalFlip()),
        host_ops.vertical_flip(wide, tf.constant([0.5]), recipe.VerticalFlip()),
    ):
        np.testing.assert_array_equal(flipped, wide[::-1])


def test_a_flip_is_left_to_right(images):
    np.testing.assert_array_equal(geometry.flip(images[0], None, recipe.Flip()), images[0][:, ::-1])
