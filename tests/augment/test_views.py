"""Compares whole views with Pillow, and the accelerator's ops with the host's."""

import dataclasses
from functools import partial
import re

import jax
import numpy as np
from PIL import Image, ImageFilter, ImageOps
import pillow_ops
import pytest
from sklearn.datasets import load_sample_image

from barlow_jax.augment import blur, color, views
from barlow_jax.config import recipe
from barlow_jax.config.recipe import IMAGENET_MEAN, IMAGENET_STD, Normalize, Recipe
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.distributed.mesh import Layout, make_mesh

NUMBER, SIZE = 48, 72
# The paper's views of the whole image; tests/data/test_resize.py compares the crop with Pillow.
WHOLE = recipe.Crop(min_area=1.0, min_aspect=1.0, max_aspect=1.0)
PAPER = Recipe({name: dataclasses.replace(view, crop=WHOLE) for name, view in Recipe().views.items()})


@pytest.fixture(scope="module")
def crops():
    """Return `[B, height, width, 3]` uint8 crops of two photographs."""
    rng, photographs = np.random.default_rng(0), [load_sample_image(f) for f in ("china.jpg", "flower.jpg")]
    corners = zip(rng.integers(0, 427 - SIZE, NUMBER), rng.integers(0, 640 - SIZE, NUMBER), strict=True)
    return np.stack([photographs[k % 2][t : t + SIZE, c : c + SIZE] for k, (t, c) in enumerate(corners)])


def _augment(images, positions=None, seed=0, augmentation=PAPER):
    positions = np.arange(len(images), dtype=np.uint32) if positions is None else positions
    jitted = jax.jit(partial(views.augment, recipe=augmentation, size=SIZE))  # one program for all seeds
    return jax.device_get(jitted(_decoded(images) | {POSITION: positions}, seed=seed))


def _decoded(images):
    rows = len(images)
    shapes = np.full((rows, 2), SIZE, np.int32)
    return {CANVAS: images, SHAPE: shapes, POSITION: np.arange(rows, dtype=np.uint32)}


def _in_pillow(image, view, uniforms):
    """Return the view by Pillow's ops with these uniforms, and the names of the applied ops."""
    result, applied = Image.fromarray(image), []
    for name in view.order:
        if name in ("crop", "normalize") or not views.is_applied(uniforms[name], getattr(view, name)):
            continue
        op, u = getattr(view, name), uniforms[name][1:]
        applied.append(name)
        if name == "flip":
            result = ImageOps.mirror(result)
        elif name == "jitter":
            result = pillow_ops.jitter(result, np.argsort(u[4:8]), color.jitter_strengths(u, op))
        elif name == "grayscale":
            result = result.convert("L").convert("RGB")
        elif name == "blur":
            result = result.filter(ImageFilter.GaussianBlur(float(blur.blur_sigma(u, op))))
        elif name == "solarize":
            result = ImageOps.solarize(result, op.threshold)
    return np.asarray(result).astype(int), applied


@pytest.mark.parametrize("name", "ab")
def test_a_whole_view_is_pillows_ops_in_a_row_bit_for_bit(crops, name):
    view, number = PAPER.views[name], "ab".index(name)
    ours = _augment(crops)[name]
    assert ours.dtype == np.uint8
    uniforms = jax.device_get(views.sample_uniforms(0, number, np.arange(NUMBER, dtype=np.uint32)))
    seen = set()
    for row, image in enumerate(crops):
        expected, applied = _in_pillow(image, view, {op: u[row] for op, u in uniforms.items()})
        np.testing.assert_array_equal(ours[row], expected)
        seen.update(applied)
    assert seen == {op for op in views.OP_FUNCTIONS if getattr(view, op).probability > 0}


@pytest.mark.parametrize("name", recipe.OPS)
def test_every_op_is_implemented_on_host_and_accelerator(name):
    """DEVICE_ONLY and `normalize` run on the accelerator alone; the crop there is a function of its own."""
    from barlow_jax.data import host_ops

    device_only = name in recipe.DEVICE_ONLY
    assert (name in recipe.GEOMETRIC) + (name in recipe.COLOR) + device_only + (name == "normalize") == 1
    assert hasattr(host_ops, name) == (name != "normalize" and not device_only)
    functions = views.OP_FUNCTIONS | views.KEYED_OP_FUNCTIONS
    assert (name in functions) == (name not in ("crop", "normalize"))
    assert (name in recipe.DEFAULT_OPS) == (name not in views.KEYED_OP_FUNCTIONS)


def test_host_and_accelerator_agree_for_the_same_uniforms(crops):
    """Each side computes strengths, sigma and order from the uniforms by itself."""
    import tensorflow as tf

    from barlow_jax.data import host_ops

    uniforms = np.random.default_rng(2).random((6, 8), dtype=np.float32)
    for name in recipe.COLOR:
        op = getattr(recipe.View(), name)
        ours = jax.jit(partial(views.OP_FUNCTIONS[name], op=op))
        theirs = tf.function(partial(getattr(host_ops, name), op=op))
        pairs = [
            (np.asarray(ours(x, u)), theirs(tf.constant(x), tf.constant(u)).numpy())
            for x, u in zip(crops.astype(np.float32), uniforms, strict=False)
        ]
        difference = np.abs(np.array([a - b for a, b in pairs]))
        # Jitter: a pixel value differs by 1 where a product is whole, which hue amplifies.
        assert difference.max() <= (9 if name == "jitter" else 0)
        assert np.mean(difference > 0) <= 0.001


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_the_crop_resizes_by_the_method_of_the_recipe_on_host_and_accelerator(crops, method):
    """Between the two methods every second pixel value differs."""
    import tensorflow as tf

    from barlow_jax.data import host_views

    view = recipe.View(crop=dataclasses.replace(WHOLE, method=method), order=("crop",))
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(Image.fromarray(crops[0]).resize((29, 29), filters[method])).astype(int)
    u, shape = np.full(22, 0.5, np.float32), np.array([SIZE, SIZE], np.int32)
    for ours in (
        views.crop(crops[0], shape, u, view, 29, None),
        host_views.make_view(tf.constant(crops[0]), view, 29, tf.constant([0, 0], tf.int64)),
    ):
        difference = np.abs(np.asarray(ours) - expected)
        assert difference.max() <= 2 and np.mean(difference > 0) < 0.03


@pytest.mark.slow
def test_one_device_and_eight_give_the_same_views(crops):
    result = []
    for devices in (jax.devices()[:1], jax.devices()):
        layout = Layout(make_mesh(devices))
        placed = jax.device_put(_decoded(crops), layout.batch)
        augment = partial(views.augment, recipe=Recipe(), size=SIZE, seed=0)
        jitted = jax.jit(augment, out_shardings=layout.batch)
        result.append(jax.device_get(jitted(placed)))
    jax.tree.map(np.testing.assert_array_equal, *result)


def test_a_view_depends_only_on_seed_view_and_position(crops):
    whole = _augment(crops)
    rows = np.random.default_rng(0).permutation(NUMBER).astype(np.uint32)
    mixed, other_seed = _augment(crops[rows], rows), _augment(crops, seed=1)
    for name in "ab":
        np.testing.assert_array_equal(mixed[name], whole[name][rows])
        assert np.any(other_seed[name] != whole[name])
    twice = _augment(crops, augmentation=Recipe(dict.fromkeys("ab", PAPER.views["a"])))
    assert np.all(np.any(twice["a"] != twice["b"], axis=(1, 2, 3))), "both views have the same random numbers"


def test_ops_are_applied_in_the_order_of_the_view(crops):
    """Solarize and grayscale do not commute."""
    ops = {"solarize": recipe.Solarize(1.0), "grayscale": recipe.Grayscale(1.0)}
    base = dataclasses.replace(recipe.geometric(PAPER.views["a"]), flip=recipe.Flip(0.0), **ops)
    for order, apply in (
        (
            ("crop", "rotate", "flip", "jitter", "blur", "solarize", "grayscale", "normalize"),
            lambda image: ImageOps.solarize(image).convert("L"),
        ),
        (
            ("crop", "rotate", "flip", "jitter", "blur", "grayscale", "solarize", "normalize"),
            lambda image: ImageOps.solarize(image.convert("L")),
        ),
    ):
        result = _augment(crops[:1], augmentation=Recipe({"a": dataclasses.replace(base, order=order)}))["a"][
            0
        ]
        expected = apply(Image.fromarray(crops[0])).convert("RGB")
        np.testing.assert_array_equal(result, expected)


def test_a_view_is_cropped_flipped_and_rotated_by_its_own_uniforms(crops):
    view = recipe.geometric(recipe.View(rotate=recipe.Rotate(0.5)))
    result = _augment(crops[:8], augmentation=Recipe({"a": view}))["a"]
    uniforms = jax.device_get(views.sample_uniforms(0, 0, np.arange(8, dtype=np.uint32)))
    shape, done = np.array([SIZE, SIZE], np.int32), set()
    for row, image in enumerate(crops[:8]):
        u = {op: values[row] for op, values in uniforms.items()}
        expected = np.asarray(views.crop(image, shape, u["crop"], view, SIZE, None))
        for op in ("rotate", "flip"):
            if views.is_applied(u[op], getattr(view, op)):
                done.add(op)
                op_function = jax.jit(partial(views.OP_FUNCTIONS[op], op=getattr(view, op)))
                expected = op_function(expected.astype(np.float32), u[op][1:])
        difference = np.abs(result[row] - np.asarray(expected, int))
        # Cubes and sines compile to different sums there; near a half, a value differs by 1.
        assert difference.max() <= 1 and np.mean(difference > 0) <= 1e-3
    assert done == {"rotate", "flip"}


def test_crops_that_the_host_finished_are_taken_as_they_are(crops):
    """For an image larger than the canvas the host passes one crop per view, and the shape (0, 0)."""
    views_recipe = Recipe({name: recipe.geometric(recipe.View(flip=recipe.Flip(0.0))) for name in "ab"})
    canvas = np.zeros((2, 2 * SIZE, 2 * SIZE, 3), np.uint8)
    canvas[:, :SIZE] = np.concatenate([crops[0:2], crops[2:4]], axis=2)
    jitted = jax.jit(partial(views.augment, recipe=views_recipe, size=SIZE, seed=0))
    result = jitted(_decoded(canvas) | {SHAPE: np.zeros((2, 2), np.int32)})
    np.testing.assert_array_equal(result["a"], crops[0:2])
    np.testing.assert_array_equal(result["b"], crops[2:4])


def test_each_view_may_have_its_own_size(crops):
    plain = recipe.geometric(recipe.View(flip=recipe.Flip(0.0)))
    small = dataclasses.replace(plain, crop=dataclasses.replace(plain.crop, size=24))
    views_recipe = Recipe({"a": plain, "b": small, "c": small})
    result = _augment(crops[:3], augmentation=views_recipe)
    assert {name: rows.shape[1:3] for name, rows in result.items()} == {
        "a": (SIZE, SIZE),
        "b": (24, 24),
        "c": (24, 24),
    }
    canvas = np.zeros((1, 2 * SIZE, 2 * SIZE, 3), np.uint8)
    canvas[0, :SIZE, :SIZE] = crops[0]
    for number in range(2):
        canvas[0, :24, SIZE + 24 * number : SIZE + 24 * (number + 1)] = crops[1 + number][:24, :24]
    jitted = jax.jit(partial(views.augment, recipe=views_recipe, size=SIZE, seed=0))
    result = jitted(_decoded(canvas) | {SHAPE: np.zeros((1, 2), np.int32)})
    np.testing.assert_array_equal(result["a"][0], crops[0])
    np.testing.assert_array_equal(result["b"][0], crops[1][:24, :24])
    np.testing.assert_array_equal(result["c"][0], crops[2][:24, :24])


def test_classifiers_train_on_geometric_views():
    for view in PAPER.views.values():
        classifiers = recipe.classifier_view(view)
        assert recipe.geometric(classifiers) == classifiers


def test_normalize_is_torchvisions():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = (pixels / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(views.normalize(pixels, Normalize()), expected, rtol=1e-5, atol=1e-6)


def test_each_view_is_finished_by_its_own_row_of_the_recipe():
    pixels = np.full((1, 2, 2, 3), 255, np.uint8)
    rows = {"a": recipe.View(), "b": recipe.View(normalize=Normalize((0.0,) * 3, (2.0,) * 3))}
    result = views.normalize_views({"a": pixels, "b": pixels}, Recipe(rows))
    assert set(result) == {"a", "b"} and result["a"].dtype == np.float32
    np.testing.assert_allclose(result["b"], 0.5)
    assert np.all(result["a"] > 2)


def test_views_are_reduced_as_pillow_reduces_them():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
    plain = Recipe({"a": recipe.View(normalize=Normalize((0.0,) * 3, (1 / 255,) * 3))})
    normalized = views.normalize_views({"a": pixels, "b": pixels[:, :8, :8]}, plain)
    reduced = views.reduce_views(normalized, 0.75)
    assert reduced["b"].shape == (2, 6, 6, 3)
    for row, image in zip(reduced["a"], pixels, strict=True):
        expected = Image.fromarray(image).resize((9, 9), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(row, expected, atol=1.0)


def test_on_cpus_no_stack_of_channels_is_fused_with_the_jitter():
    """XLA's code for such a fusion may take a hundred times as long (`color.py`)."""
    augment = partial(views.augment, recipe=Recipe(), size=SIZE, seed=0)
    program = jax.jit(augment).lower(_decoded(np.zeros((4, SIZE, SIZE, 3), np.uint8))).compile().as_text()
    functions = re.findall(r"^%fused\S* .*?^}", program, re.MULTILINE | re.DOTALL)
    assert max(function.count("\n") for function in functions) > 300  # the jitter
    stacks = [function.count("\n") for function in functions if " concatenate(" in function]
    assert max(stacks) < 100


def test_captions_pass_through_unchanged():
    images, words = np.zeros((4, SIZE, SIZE, 3), np.uint8), np.arange(12, dtype=np.int32).reshape(4, 3)
    plain = Recipe({"a": recipe.View(crop=WHOLE)})
    result = jax.jit(partial(views.augment, recipe=plain, size=SIZE, seed=0))(_decoded(images) | {"b": words})
    alone = _augment(images, augmentation=plain)
    assert set(result) == {"a", "b"}
    np.testing.assert_array_equal(result["a"], alone["a"])
    normalized = views.normalize_views(result, plain)
    np.testing.assert_array_equal(normalized["b"], words)
    assert normalized["b"].dtype == np.int32 and normalized["a"].dtype == np.float32
