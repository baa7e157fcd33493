"""Compares each color op with Pillow's, on photographs and on noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance, ImageOps
import pillow_ops
import pytest

from barlow_jax.augment import color
from barlow_jax.config import recipe


def _run(function, image, *arguments):
    """Apply a jitted op to one uint8 image and check that it returns whole pixel values."""
    pixels = np.asarray(_jit(function)(jnp.asarray(image, jnp.float32), *arguments))
    np.testing.assert_array_equal(pixels, np.round(pixels))
    assert pixels.dtype == np.float32 and pixels.min() >= 0 and pixels.max() <= 255
    return pixels.astype(int)


@functools.cache
def _jit(function):
    return jax.jit(function)


def _difference(ours, pillow):
    return np.abs(ours - np.asarray(pillow).astype(int))


def test_grayscale_is_l_three_times(images):
    for image in images:
        ours = _run(_grayscale, image)
        assert _difference(ours, Image.fromarray(image).convert("L").convert("RGB")).max() == 0


def _grayscale(image):
    return color.grayscale(image, None, recipe.Grayscale())


def _adjust(start):
    def adjust(image, factor):
        planes = color._planes(image)
        return jnp.stack(color._blend(start(planes), planes, factor), axis=-1)

    return adjust


def _shift_hue(image, turns):
    return jnp.stack(color._shift_hue(color._planes(image), turns), axis=-1)


PARTS = {
    "Brightness": _adjust(lambda planes: 0.0),
    "Contrast": _adjust(lambda planes: color._mean(color._luma(planes))),
    "Color": _adjust(color._luma),
}


@pytest.mark.parametrize("factor", [0.0, 0.37, 0.6, 1.0, 1.4, 1.93])
@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_jitter_is_pillows_bit_for_bit(images, part, factor):
    for image in images:
        pillow = getattr(ImageEnhance, part)(Image.fromarray(image)).enhance(factor)
        assert _difference(_run(PARTS[part], image, factor), pillow).max() == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_factor_of_one_changes_nothing(part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(_run(PARTS[part], noise, 1.0), noise)


@pytest.mark.parametrize("turns", [-0.5, -0.1, -0.03, 0.0, 0.02, 0.1, 0.5])
def test_hue_shift_is_pillows_hsv_bit_for_bit(images, turns):
    for image in images:
        pillow = pillow_ops.hue(Image.fromarray(image), turns)
        assert _difference(_run(_shift_hue, image, turns), pillow).max() == 0


def test_the_table_of_hues_that_are_rounded_down_is_pillows_arithmetic():
    """On one color of each hue."""
    hue = np.arange(256)
    sector, along = np.divmod(2 * hue, 85)  # one of six sectors, and 85ths of it
    up = (along / 85).astype(np.float32)  # distance of a rising channel from the maximum, as in PIL
    down = ((85 - along) / 85).astype(np.float32)
    one = np.float32(1)
    sixths = np.select(
        [sector == 0, sector == 1, sector == 2, sector == 3, sector == 4],
        [
            one - down,
            2.0 + up.astype(float) - 1.0,
            2.0 + 1.0 - down.astype(float),
            4.0 + up.astype(float) - 1.0,
            4.0 + 1.0 - down.astype(float),
        ],
        up - one,
    )
    turn = np.fmod(sixths.astype(np.float32).astype(float) / 6.0 + 1.0, 1.0).astype(np.float32)
    skipped = np.floor(turn.astype(float) * 255.0) < hue
    bits = np.packbits(skipped, bitorder="little").view("<u4")
    assert tuple(bits.tolist()) == color._SKIPPED_HUES


@pytest.mark.parametrize("low", [0, 1, 2])
def test_hue_shift_is_pillows_on_the_whole_color_cube(low):
    """Each case covers a ninth of all colors."""
    values = np.arange(low, 256, 3, dtype=np.uint8)
    cube = np.stack(np.meshgrid(values, values, np.arange(256, dtype=np.uint8), indexing="ij"), axis=-1)
    cube = cube.reshape(len(values), -1, 3)
    pillow = pillow_ops.hue(Image.fromarray(cube), 0.07)
    assert _difference(_run(_shift_hue, cube, 0.07), pillow).max() == 0


@pytest.mark.parametrize("threshold", [0, 1, 128, 255, 256])
def test_solarize_is_pillows(images, threshold):
    for image in images:
        ours = np.asarray(
            color.solarize(jnp.asarray(image, jnp.float32), None, recipe.Solarize(1.0, threshold))
        )
        assert _difference(ours, ImageOps.solarize(Image.fromarray(image), threshold)).max() == 0


def _jitter(op):
    return jax.jit(functools.partial(color.jitter, op=op))


def _uniforms(number):
    return np.random.default_rng(1).random((number, 8), dtype=np.float32)


def test_jitter_is_pillows_parts_in_the_sampled_order(images):
    """All 24 orders occur."""
    op, seen = recipe.Jitter(), set()
    jitter = _jitter(op)
    image = images[0][:64, :64]
    for u in _uniforms(100):
        order = np.argsort(u[4:8])
        seen.add(tuple(order))
        ours = np.asarray(jitter(jnp.asarray(image, jnp.float32), u)).astype(int)
        pillow = pillow_ops.jitter(Image.fromarray(image), order, color.jitter_strengths(u, op))
        assert _difference(ours, pillow).max() == 0
    assert len(seen) == 24


@pytest.mark.parametrize("absent", ["brightness", "contrast", "saturation", "hue"])
def test_a_part_of_strength_zero_is_left_out(absent):
    """Hue must be skipped too, as the conversion to HSV and back is lossy. All orders of the others occur."""
    op = recipe.Jitter(**{absent: 0.0})
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    parts = [k for k, name in enumerate(("brightness", "contrast", "saturation", "hue")) if name != absent]
    jitter, seen = _jitter(op), set()
    for u in _uniforms(40):
        order = np.array(parts)[np.argsort(u[4:7])]
        seen.add(tuple(order))
        ours = np.asarray(jitter(jnp.asarray(image, jnp.float32), u)).astype(int)
        pillow = pillow_ops.jitter(Image.fromarray(image), order, color.jitter_strengths(u, op))
        assert _difference(ours, pillow).max() == 0
    assert len(seen) == 6


def test_equal_uniforms_leave_the_parts_in_their_order():
    precedes = color.jitter_precedence(jnp.full(8, 0.5), [True] * 4)
    np.testing.assert_array_equal(precedes, np.triu(np.ones((4, 4), bool), 1))
