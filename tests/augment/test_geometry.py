"""The accelerator's crop, flip and rotation: the host's boxes, Pillow's pixels."""

from functools import partial

import jax
import numpy as np
from PIL import Image
import pytest

from barlow_jax.augment import geometry
from barlow_jax.config import recipe


@pytest.mark.parametrize("shape", [(375, 500), (1000, 200), (64, 64), (3, 90)], ids=str)
def test_the_boxes_are_the_hosts_for_the_same_uniforms(shape):
    """And theirs are tested to follow torchvision's law (tests/data/test_crop_law.py)."""
    import laws

    u = np.random.default_rng(0).random((4000, 22), dtype=np.float32)
    op = recipe.Crop()
    boxes = jax.jit(jax.vmap(lambda u: geometry.crop_box(np.array(shape, np.int32), u, op)))(u)
    difference = np.abs(np.array(boxes, float) - laws.boxes(u, shape, op))
    assert difference.max() <= 1 and np.mean(difference > 0) < 1e-3, "logarithms round differently"


@pytest.mark.parametrize("shape", [(160, 200), (200, 160), (70, 90), (64, 64), (65, 80)], ids=str)
def test_the_evaluation_crop_is_torchvisions(images, shape):
    image = np.ascontiguousarray(np.resize(images[0], (*shape, 3)))
    canvas = np.zeros((224, 224, 3), np.uint8)
    canvas[: shape[0], : shape[1]] = image
    ours = jax.jit(partial(geometry.evaluation_crop, resize_to=64, size=56))(
        canvas, np.array(shape, np.int32)
    )
    height, width = (side * 64 // min(shape) for side in shape)
    pillow = (
        Image.fromarray(image)
        .resize((width, shape[0]), Image.BILINEAR)
        .resize((width, height), Image.BILINEAR)
    )
    top, left = round((height - 56) / 2), round((width - 56) / 2)
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(pillow)[top : top + 56, left : left + 56])
    # Between such sizes 3 sums in 100 are a half exactly (of a pass over noise), and Pillow's last bit decides them.
    assert difference.max() <= 1 and np.mean(difference > 0) <= 0.02


@pytest.mark.parametrize("u", [0.0, 0.2, 0.5, 0.99])
def test_rotation_is_pillows_bilinear_one(images, u):
    op, degrees = recipe.Rotate(1.0, max_degrees=30), -30 + 60 * u
    for image in images[:3]:
        pillow = np.asarray(Image.fromarray(image).rotate(degrees, Image.BILINEAR)).astype(int)
        # Inside alone: Pillow cuts the outermost half pixel off, where ours blends it with black.
        height, width, _ = image.shape
        mask = np.pad(np.full((height - 4, width - 4), 255, np.uint8), 2)
        inside = np.asarray(Image.fromarray(mask).rotate(degrees, Image.BILINEAR)) == 255
        turned = geometry.rotate(image.astype(np.float32), np.array([u]), op)
        assert np.abs(np.asarray(turned) - pillow)[inside].max() <= 1
        assert inside.mean() > 0.6


def test_a_flip_is_left_to_right(images):
    np.testing.assert_array_equal(geometry.flip(images[0], None, recipe.Flip()), images[0][:, ::-1])
