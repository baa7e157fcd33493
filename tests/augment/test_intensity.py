"""Compares the intensity ops, and the ops of float32 images, with their definitions and distributions."""

import colorsys
import dataclasses
from functools import partial

import distributions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from barlow_jax.augment import blur, color, intensity, views
from barlow_jax.config import recipe
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE

KEYS = jax.random.split(jax.random.key(0), 4000)
RAMP = np.linspace(0.2, 0.4, 4 * 6 * 5, dtype=np.float32).reshape(4, 6, 5)
WHOLE = recipe.Crop(min_area=1.0, min_aspect=1.0, max_aspect=1.0)


def _each(function, op, image=RAMP, keys=KEYS):
    return np.asarray(jax.jit(jax.vmap(lambda key: function(image, key, op)))(keys))


@pytest.mark.parametrize("per_channel", [False, True])
def test_brightness_contrast_and_gamma_follow_their_definitions(per_channel):
    op = recipe.Intensity(strength=0.3, per_channel=per_channel)
    mean = RAMP.mean(axis=(0, 1) if per_channel else None)
    inverses = {
        "brightness": lambda x: x / RAMP,
        "contrast": lambda x: (x - mean) / (RAMP - mean),
        "gamma": lambda x: np.log(x) / np.log(RAMP),
    }
    for name, inverse in inverses.items():
        factors = inverse(_each(getattr(intensity, name), op))
        # One factor for all pixels of a channel, and for all channels unless each has its own.
        kept = factors[:, 0, 0, :] if per_channel else factors[:, 0, 0, :1]
        np.testing.assert_allclose(factors, np.broadcast_to(kept[:, None, None], factors.shape), rtol=2e-3)
        if name == "gamma":
            distributions.assert_uniform(np.log(kept[:, 0]) / np.log(1.3), -1.001, 1.001)
        else:
            distributions.assert_uniform(kept[:, 0], 0.699, 1.301)
        if per_channel:
            assert np.abs(distributions.correlations(kept)).max() < 4.5 / np.sqrt(len(kept))


def test_a_strength_above_1_starts_at_0_and_values_are_clipped():
    op, keys = recipe.Intensity(strength=4.0), KEYS[:500]
    factors = _each(lambda image, key, op: intensity.factors(key, op, 5), op, keys=keys)
    distributions.assert_uniform(factors.ravel(), 0.0, 5.0)
    for name in ("brightness", "contrast", "gamma"):
        changed = _each(getattr(intensity, name), op, keys=keys)
        assert changed.min() >= 0 and changed.max() <= 1


def test_noise_is_gaussian_with_a_uniform_std():
    image = np.full((16, 16, 2), 0.5, np.float32)
    noise = _each(intensity.noise, recipe.Noise(max_std=0.05), image) - 0.5
    stds = noise.reshape(len(noise), -1).std(axis=1, ddof=1)
    # The std of 512 values is known to 3 %.
    distributions.assert_uniform(np.minimum(stds.astype(float), 0.05), 0.0, 0.05)
    standard = (noise / stds[:, None, None, None])[stds > 0.01]
    assert stats.kstest(standard[:, 0, 0, 0], "norm").pvalue > 1e-3
    assert abs(np.mean(standard[:, 0, 0, 0] * standard[:, 0, 0, 1])) < 4.5 / np.sqrt(len(standard))
    assert abs(np.mean(standard[:, 0, 0, 0] * standard[:, 0, 1, 0])) < 4.5 / np.sqrt(len(standard))


def test_channel_drop_sets_any_choice_of_channels_to_0():
    dropped = (_each(intensity.channel_drop, recipe.ChannelDrop(count=2)) == 0).all(axis=(1, 2))
    assert np.all(dropped.sum(axis=1) == 2)
    counts = np.unique(dropped, axis=0, return_counts=True)[1]
    assert len(counts) == 10 and stats.chisquare(counts).pvalue > 1e-3


def _view(**ops):
    order = ("crop", "rotate", "flip", *ops, "jitter", "grayscale", "blur", "solarize", "normalize")
    base = recipe.without(recipe.View(crop=WHOLE), (*recipe.COLOR, "flip"))
    return dataclasses.replace(base, order=order, **ops)


def _augment(canvas, view, size):
    rows = len(canvas)
    shapes = np.full((rows, 2), canvas.shape[1], np.int32)
    decoded = {CANVAS: canvas, SHAPE: shapes, POSITION: np.arange(rows, dtype=np.uint32)}
    make = partial(views.augment, recipe=recipe.Recipe({"a": view}), size=size, seed=0)
    return np.asarray(jax.jit(make)(decoded)["a"])


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_float_images_of_any_channels_are_cropped_in_float(channels):
    """A bilinear resize by 2 averages four weights an axis; no value is rounded."""
    canvas = np.random.default_rng(0).random((2, 16, 16, channels), dtype=np.float32)
    view = _view(vertical_flip=recipe.VerticalFlip(1.0))
    view = dataclasses.replace(view, crop=dataclasses.replace(WHOLE, method="bilinear"))
    result = _augment(canvas, view, 8)
    assert result.dtype == np.float32 and result.shape == (2, 8, 8, channels)
    line = np.zeros((8, 16))
    for row in range(8):
        for offset, weight in ((-1, 1), (0, 3), (1, 3), (2, 1)):
            if 0 <= 2 * row + offset < 16:
                line[row, 2 * row + offset] = weight
    line /= line.sum(axis=1, keepdims=True)
    expected = np.einsum("vh,bhwc,ow->bvoc", line, canvas, line)[:, ::-1]
    np.testing.assert_allclose(result, expected, atol=2e-4)  # weights are multiples of 2^-15


def test_new_ops_are_applied_with_their_probability_and_leave_the_draws_of_others():
    canvas = np.random.default_rng(0).integers(60, 190, (400, 6, 6, 3), dtype=np.uint8)
    ops = {"noise": recipe.Noise(0.3, max_std=0.2), "brightness": recipe.Intensity(0.0)}
    plain, changed = _augment(canvas, _view(), 6), _augment(canvas, _view(**ops), 6)
    assert changed.dtype == np.uint8
    applied = np.any(plain != changed, axis=(1, 2, 3))
    assert distributions.probability_p_value(applied, 0.3) > 1e-3
    default = recipe.geometric(recipe.View(crop=WHOLE, rotate=recipe.Rotate(0.5)))
    order = (*default.order[:-1], "vertical_flip", "normalize")
    flipped = dataclasses.replace(default, order=order, vertical_flip=recipe.VerticalFlip(1.0))
    np.testing.assert_array_equal(_augment(canvas, flipped, 6), _augment(canvas, default, 6)[:, ::-1])


def test_intensity_ops_of_uint8_images_are_rounded():
    canvas = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    result = _augment(canvas, _view(gamma=recipe.Intensity(1.0, strength=1.0)), 6)
    keys = views.sample_keys(0, 0, np.arange(20, dtype=np.uint32), _view(gamma=recipe.Intensity()))["gamma"]
    keys = jax.vmap(jax.random.split)(keys)[:, 1]
    op = recipe.Intensity(strength=1.0)
    powers = jax.vmap(lambda key: intensity.gamma(jnp.full((1, 1, 1), 0.5), key, op))(keys)
    exponents = np.log(np.asarray(powers)) / np.log(0.5)
    np.testing.assert_allclose(result, np.rint(255 * (canvas / 255) ** exponents), atol=1)
    assert np.mean(result == np.rint(255 * (canvas / 255) ** exponents)) > 0.99


def test_the_color_ops_of_float_images_are_those_of_pixel_values_without_rounding():
    rng = np.random.default_rng(0)
    for u in rng.random((2, 9), dtype=np.float32):
        pixels = rng.integers(0, 256, (12, 12, 3)).astype(np.float32)
        for op, apply in (
            (recipe.Jitter(hue=0.0), color.jitter),
            (recipe.Grayscale(), color.grayscale),
            (recipe.Solarize(threshold=100), color.solarize),
        ):
            whole, exact = apply(pixels, u, op), apply(pixels / 255, u, op, top=1.0)
            assert np.abs(np.asarray(whole) / 255 - np.asarray(exact)).max() <= 4 / 255
        turns = float(color.jitter_strengths(u, recipe.Jitter(hue=0.5))[3])
        only_hue = recipe.Jitter(brightness=0, contrast=0, saturation=0, hue=0.5)
        exact = np.asarray(color.jitter(pixels / 255, u, only_hue, top=1.0)).reshape(-1, 3)
        for rgb, shifted in zip(pixels.reshape(-1, 3) / 255, exact, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
            expected = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
            np.testing.assert_allclose(shifted, expected, atol=2e-5)


def test_the_blur_of_a_float_point_has_the_variance_sigma_squared():
    op, point = recipe.Blur(min_sigma=0.0, max_sigma=4.0), np.zeros((41, 41, 2), np.float32)
    point[20, 20] = 1.0, 0.25
    for u in (0.2, 0.5, 0.9):
        spread = np.asarray(blur.blur(point, np.array([u]), op, top=1.0))
        np.testing.assert_allclose(spread.sum(axis=(0, 1)), (1.0, 0.25), rtol=1e-5)
        for axis in (0, 1):
            profile = spread.sum(axis=axis)[:, 0]
            variance = np.sum(profile * (np.arange(41) - 20.0) ** 2)
            assert variance == pytest.approx((4 * u) ** 2, rel=2e-3)
