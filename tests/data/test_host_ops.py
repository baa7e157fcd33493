"""Each op against Pillow's, on real photographs and on noise. Pixel values are 0..255."""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
import pillow_ops
import pytest
import tensorflow as tf

from barlow_jax.config import recipe
from barlow_jax.data import host_ops


def _pixels(tensor):
    values = tensor.numpy()
    np.testing.assert_array_equal(values, np.round(values))
    assert values.min() >= 0 and values.max() <= 255
    return values.astype(int)


def _difference(ours, pillow):
    return np.abs(_pixels(ours) - np.asarray(pillow).astype(int))


def _as_tensor(image):
    return tf.constant(image, tf.float32)


def test_luma_is_pillows_l(images):
    for image in images:
        pillow = Image.fromarray(image).convert("L")
        assert _difference(host_ops.luma(_as_tensor(image))[..., 0], pillow).max() == 0


@pytest.mark.parametrize("factor", [0.0, 0.37, 0.6, 1.0, 1.4, 1.93])
@pytest.mark.parametrize("part", ["Brightness", "Contrast", "Color"])
def test_each_part_of_the_jitter_is_pillows(images, part, factor):
    for image in images:
        pillow = getattr(ImageEnhance, part)(Image.fromarray(image)).enhance(factor)
        x = _as_tensor(image)
        if part == "Brightness":
            start = tf.zeros_like(x)
        else:
            start = host_ops.luma(x) if part == "Color" else tf.floor(tf.reduce_mean(host_ops.luma(x)) + 0.5)
        difference = _difference(host_ops.blend(start, x, tf.constant(factor)), pillow)
        # Pillow multiplies in float32 too, but in another order: a difference of 1 where a product is whole.
        assert difference.max() <= 1
        assert np.mean(difference > 0) <= 0.002


@pytest.mark.parametrize("turns", [-0.5, -0.1, -0.03, 0.0, 0.02, 0.1, 0.5])
def test_hue_shift_is_pillows_hsv(images, turns):
    for image in images:
        pillow = pillow_ops.hue(Image.fromarray(image), turns)
        difference = _difference(host_ops.shift_hue(_as_tensor(image), tf.constant(turns)), pillow)
        assert difference.max() <= 6
        assert np.mean(difference > 0) <= 0.001


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.5, 2.0])
def test_blur_is_pillows_gaussian_blur(images, sigma):
    op = recipe.Blur(min_sigma=sigma, max_sigma=sigma)
    for image in images:
        pillow = Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))
        assert _difference(host_ops.blur(_as_tensor(image), tf.constant([0.0]), op), pillow).max() == 0


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.3, 2.0])
def test_three_boxes_have_the_variance_of_sigma(sigma):
    box = host_ops.box_kernel(tf.constant(sigma), 2.0).numpy()
    offsets = np.arange(len(box)) - len(box) // 2
    assert len(box) == 5
    np.testing.assert_allclose(box.sum(), 1, atol=1e-6)
    np.testing.assert_allclose(3 * (box * offsets**2).sum(), sigma**2, rtol=1e-4)


@pytest.mark.parametrize("threshold", [0, 1, 128, 255, 256])
def test_solarize_is_pillows(images, threshold):
    for image in images:
        ours = host_ops.solarize(_as_tensor(image), None, recipe.Solarize(1.0, threshold))
        assert _difference(ours, ImageOps.solarize(Image.fromarray(image), threshold)).max() == 0


def test_flip_is_pillows_mirror(images):
    for image in images:
        ours = host_ops.flip(_as_tensor(image), None, recipe.Flip())
        assert _difference(ours, ImageOps.mirror(Image.fromarray(image))).max() == 0


def test_grayscale_is_l_three_times(images):
    for image in images:
        ours = host_ops.grayscale(_as_tensor(image), None, recipe.Grayscale())
        assert _difference(ours, Image.fromarray(image).convert("L").convert("RGB")).max() == 0


def _assert_resized(ours, pillow):
    """Compare with Pillow, where both round after each pass.

    A sum within float32's precision of one half may round either way: a difference of 1, or of 2 if both
    passes do. At simple ratios of sizes, where sums are exactly one half, this is frequent.
    """
    difference = _difference(ours, pillow)
    assert difference.max() <= 2
    assert difference.mean() <= 0.017


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(
    ("method", "pillow_method"), [("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)]
)
@pytest.mark.parametrize("shape", [(23, 23), (101, 101), (223, 223), (53, 307)])
def test_resize_is_pillows_width_and_then_height(images, method, pillow_method, shape, upright):
    for image in images:
        image = np.rot90(image).copy() if upright else image
        # A call for each: from version 13 on, Pillow takes the height of an upright image first.
        wide = Image.fromarray(image).resize((shape[1], len(image)), pillow_method)
        ours = host_ops.resize(_as_tensor(image), shape, method)
        _assert_resized(ours, wide.resize(shape[::-1], pillow_method))


@pytest.mark.parametrize("size", [23, 101, 223])
def test_resize_is_one_call_of_pillow_in_images_that_are_not_upright(images, size):
    for image in images:
        ours = host_ops.resize(_as_tensor(image), (size, size), "bicubic")
        _assert_resized(ours, Image.fromarray(image).resize((size, size), Image.BICUBIC))


@pytest.mark.parametrize("u", [0.0, 0.2, 0.5, 0.99])
def test_rotation_is_pillows_bilinear_one(images, u):
    op = recipe.Rotate(1.0, max_degrees=30)
    degrees = -30 + 60 * u
    for image in images:
        pillow = Image.fromarray(image).rotate(degrees, Image.BILINEAR)
        # Inside alone: Pillow cuts the outermost half pixel off, where ours blends it with black.
        height, width, _ = image.shape
        mask = np.pad(np.full((height - 4, width - 4), 255, np.uint8), 2)
        inside = np.asarray(Image.fromarray(mask).rotate(degrees, Image.BILINEAR)) == 255
        difference = _difference(host_ops.rotate(_as_tensor(image), tf.constant([u]), op), pillow)
        assert difference[inside].max() <= 1
        assert inside.mean() > 0.6


def test_crop_falls_back_to_the_largest_central_box_where_no_draw_fits():
    u = tf.constant([0.99, 0.5] * 10 + [0.5, 0.5])
    top, left, height, width = host_ops.crop_box(tf.constant([10, 200, 3]), u, recipe.Crop())
    assert (int(height), int(width)) == (10, 13) and (int(top), int(left)) == (0, 93)


def test_jitter_applies_its_parts_in_the_order_of_its_uniforms(images):
    op, x = recipe.Jitter(), _as_tensor(images[0])
    factors = (0.9, 0.1, 0.8, 0.3)
    ranks = (0.4, 0.1, 0.3, 0.2)  # contrast, hue, saturation, brightness
    ours = host_ops.jitter(x, tf.constant([*factors, *ranks]), op)
    x = host_ops.blend(tf.floor(tf.reduce_mean(host_ops.luma(x)) + 0.5), x, tf.constant(0.68))
    x = host_ops.shift_hue(x, tf.constant(-0.04))
    x = host_ops.blend(host_ops.luma(x), x, tf.constant(1.12))
    x = host_ops.blend(tf.zeros_like(x), x, tf.constant(1.32))
    assert np.abs(_pixels(ours) - _pixels(x)).max() <= 1
