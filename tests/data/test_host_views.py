import dataclasses
import io

import numpy as np
from photographs import JPEG_FILES
from PIL import Image, ImageFilter, ImageOps
import pillow_ops
import pytest
from sklearn.datasets import load_sample_image
import tensorflow as tf

from barlow_jax.config import recipe
from barlow_jax.data import decoding, host_ops, host_views
from barlow_jax.data.padded_images import CANVAS, SHAPE

PHOTOGRAPH = load_sample_image("flower.jpg")[:200, :300]
SEEDS = [tf.constant([number, 5], tf.int64) for number in range(2)]


def _encoded(image, file_format, **kwargs):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **kwargs)
    return buffer.getvalue()


@pytest.mark.parametrize(("file_format", "kwargs"), [("JPEG", {"quality": 90}), ("PNG", {}), ("BMP", {})])
def test_decoding_is_pillows_bit_for_bit(file_format, kwargs):
    encoded = _encoded(PHOTOGRAPH, file_format, **kwargs)
    np.testing.assert_array_equal(
        decoding.decode(tf.constant(encoded)), np.asarray(Image.open(io.BytesIO(encoded)))
    )


@pytest.mark.parametrize("path", JPEG_FILES, ids=lambda path: path.name)
def test_decoding_jpeg_is_pillows_bit_for_bit(path):
    image = Image.open(path).convert("RGB")
    np.testing.assert_array_equal(decoding.decode(tf.constant(path.read_bytes())), np.asarray(image))


def test_a_grey_image_becomes_three_channels():
    assert decoding.decode(tf.constant(_encoded(PHOTOGRAPH[..., 0], "JPEG"))).shape == (200, 300, 3)


def _view(view, seed=0, size=32):
    return host_views.make_view(
        tf.constant(PHOTOGRAPH, tf.float32), view, size, tf.constant([seed, 5], tf.int64)
    ).numpy()


def test_views_may_have_sizes_of_their_own_on_the_host_and_among_the_crops_of_a_large_image():
    plain = recipe.geometric(recipe.View(flip=recipe.Flip(0.0)))
    small = dataclasses.replace(plain, crop=dataclasses.replace(plain.crop, size=12))
    image = tf.constant(PHOTOGRAPH)
    whole, part = (host_views.make_view(image, view, 32, SEEDS[0]).numpy() for view in (plain, small))
    assert whole.shape == (32, 32, 3) and part.shape == (12, 12, 3)
    batch = host_views.pad_or_crop(image, {"a": plain, "b": small}, 32, 64, [SEEDS[0]] * 2)
    np.testing.assert_array_equal(batch[CANVAS][:32, :32], whole)
    np.testing.assert_array_equal(batch[CANVAS][:12, 32:44], part)


def test_an_image_lies_in_the_corner_of_its_canvas():
    batch = host_views.pad_or_crop(tf.constant(PHOTOGRAPH), recipe.Recipe().views, 32, 320, SEEDS)
    canvas = batch[CANVAS].numpy()
    np.testing.assert_array_equal(canvas[:200, :300], PHOTOGRAPH)
    assert batch[SHAPE].numpy().tolist() == [200, 300]
    assert canvas.shape == (320, 320, 3) and canvas.sum() == PHOTOGRAPH.sum()


def test_an_image_larger_than_the_canvas_comes_as_the_crops_that_the_host_makes():
    of = {name: recipe.View(crop=recipe.Crop(max_area=0.5)) for name in "ab"}
    batch = host_views.pad_or_crop(tf.constant(PHOTOGRAPH), of, 32, 72, SEEDS)
    canvas = batch[CANVAS].numpy()
    for number, (view, seed) in enumerate(zip(of.values(), SEEDS, strict=True)):
        alone = dataclasses.replace(view, order=("crop",))
        crop = host_views.make_view(tf.constant(PHOTOGRAPH), alone, 32, seed).numpy()
        np.testing.assert_array_equal(canvas[:32, 32 * number : 32 * (number + 1)], crop)
    assert batch[SHAPE].numpy().tolist() == [0, 0]
    assert not np.any(canvas[32:]) and not np.any(canvas[:, 64:])


@pytest.mark.parametrize("view", recipe.Recipe().views.values(), ids=["a", "b"])
def test_a_view_is_a_function_of_its_seed(view):
    one = _view(view, 1)
    assert one.dtype == np.uint8 and one.shape == (32, 32, 3)
    np.testing.assert_array_equal(one, _view(view, 1))
    assert np.any(one != _view(view, 2))


def _in_pillow(image, view, size, seed):
    """The view of that seed by Pillow's ops, one after the other, and which of them were applied."""
    applied = []
    for name, u in host_views.draw(view, seed).items():
        op = getattr(view, name)
        if name == "crop":
            top, left, height, width = (int(x) for x in host_ops.crop_box(tf.constant(image.shape), u, op))
            part = Image.fromarray(image[top : top + height, left : left + width])
            # The width first, as Pillow had it until version 13 put the height first in upright images.
            result = part.resize((size, height), Image.BICUBIC).resize((size, size), Image.BICUBIC)
        elif name != "normalize" and host_views.is_applied(u, op):
            applied.append(name)
            if name == "rotate":
                result = result.rotate(float(host_ops.rotation(u[1:], op)), Image.BILINEAR)
            elif name == "flip":
                result = ImageOps.mirror(result)
            elif name == "jitter":
                strengths = host_ops.jitter_strengths(u[1:], op)
                result = pillow_ops.jitter(result, host_ops.jitter_order(u[1:], 4).numpy(), strengths)
            elif name == "grayscale":
                result = result.convert("L").convert("RGB")
            elif name == "blur":
                result = result.filter(ImageFilter.GaussianBlur(float(host_ops.blur_sigma(u[1:], op))))
            elif name == "solarize":
                result = ImageOps.solarize(result, op.threshold)
    return np.asarray(result).astype(int), applied


@pytest.mark.parametrize("name", "ab")
def test_a_whole_view_is_pillows_ops_in_a_row(name):
    """Up to the sum of the ops' differences: 1 for resize and three parts of the jitter each, 6 for hue."""
    view, number = recipe.Recipe().views[name], "ab".index(name)
    photographs = [load_sample_image(file) for file in ("china.jpg", "flower.jpg")]
    make = tf.function(lambda image, seed: host_views.make_view(image, view, 96, seed), reduce_retracing=True)
    seen, differences = set(), []
    for position in range(30):
        image, seed = photographs[position % 2], tf.constant([number, position], tf.int64)
        expected, applied = _in_pillow(image, view, 96, seed)
        differences.append(np.abs(make(tf.constant(image, tf.float32), seed).numpy() - expected))
        seen.update(applied)
    assert seen == {op for op in view.order if getattr(getattr(view, op), "probability", 0) > 0}
    assert np.max(differences) <= 10
    assert np.mean(np.array(differences) > 0) <= 0.001


def _only(op):
    """A view that crops the whole image and applies one op."""
    off = {
        name: dataclasses.replace(getattr(recipe.View(), name), probability=0.0)
        for name in ("rotate", "flip", "jitter", "grayscale", "blur", "solarize")
    }
    crop = recipe.Crop(min_area=1.0, min_aspect=1.5, max_aspect=1.5)
    return recipe.View(crop=crop, **(off | op))


_OPS = ("rotate", "flip", "jitter", "grayscale", "blur", "solarize")


@pytest.mark.parametrize(
    ("name", "probability"),
    [
        # 0 and 1 for every op; of 0.2 and 0.5 one for every op, the other one is slow.
        pytest.param(name, p, marks=pytest.mark.slow if p == (0.2, 0.5)[index % 2] else ())
        for index, name in enumerate(_OPS)
        for p in (0.0, 0.2, 0.5, 1.0)
    ],
)
def test_an_op_is_applied_with_its_probability(name, probability):
    op = dataclasses.replace(getattr(recipe.View(), name), probability=probability)
    image = tf.constant(PHOTOGRAPH[100:164, 100:196], tf.float32)
    plain = host_views.make_view(image, _only({}), 32, tf.constant([0, 7], tf.int64))
    make = tf.function(lambda seed: host_views.make_view(image, _only({name: op}), 32, seed))
    seeds = range(300 if 0 < probability < 1 else 60)
    changed = np.mean([np.any(make(tf.constant([seed, 7], tf.int64)) != plain) for seed in seeds])
    assert abs(changed - probability) < 0.09  # three standard deviations of 300 samples


def test_ops_are_applied_in_the_order_of_the_view():
    """Solarize and grayscale do not commute."""
    ops = {"solarize": recipe.Solarize(1.0), "grayscale": recipe.Grayscale(1.0)}
    early, late = (
        _view(dataclasses.replace(_only(ops), order=order))
        for order in (
            ("crop", "rotate", "flip", "jitter", "blur", "solarize", "grayscale", "normalize"),
            ("crop", "rotate", "flip", "jitter", "blur", "grayscale", "solarize", "normalize"),
        )
    )
    assert np.any(early != late)
    for view in (early, late):
        np.testing.assert_array_equal(view[..., 0], view[..., 1])


def test_color_may_come_before_the_crop():
    view = dataclasses.replace(
        recipe.View(),
        order=("jitter", "grayscale", "crop", "rotate", "flip", "blur", "solarize", "normalize"),
    )
    assert _view(view).shape == (32, 32, 3)


def test_the_two_rows_of_the_paper_differ_in_blur_and_solarize_alone():
    a, b = recipe.Recipe().views.values()
    assert (a.blur.probability, b.blur.probability) == (1.0, 0.1)
    assert (a.solarize.probability, b.solarize.probability) == (0.0, 0.2)
    assert dataclasses.replace(b, blur=a.blur, solarize=a.solarize) == a


# Margins of 9 and 11 pixels, among others: half of them is rounded to the even side.
@pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 200), (64, 64), (64, 65), (67, 64)])
def test_evaluation_crop_is_torchvisions_resize_and_center_crop(height, width):
    image = np.asarray(Image.fromarray(PHOTOGRAPH).resize((width, height)))
    ours = host_views.evaluation_crop(tf.constant(image, tf.float32), resize_to=64, size=56).numpy()
    # The shorter side becomes 64, the other one keeps the ratio, cut off to whole pixels.
    sides = (64, 64 * width // height) if height <= width else (64 * height // width, 64)
    resized = Image.fromarray(image).resize((sides[1], height), Image.BILINEAR)
    resized = resized.resize(sides[::-1], Image.BILINEAR)
    top, left = round((sides[0] - 56) / 2), round((sides[1] - 56) / 2)
    expected = np.asarray(resized)[top : top + 56, left : left + 56].astype(int)
    assert np.abs(ours - expected).max() <= 1 and np.mean(ours != expected) <= 0.01
