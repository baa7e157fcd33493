"""Images of every format that a folder may hold, against Pillow's `convert("RGB")`."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
import pytest
from sklearn.datasets import load_sample_image
import tensorflow as tf

from barlow_jax.config.recipe import Recipe
from barlow_jax.config.schema import Data
from barlow_jax.data import decoding, host_ops, host_views, image_formats
from barlow_jax.data.image_formats import failure_reason
from barlow_jax.data.pixel_arrays import DecodeError, to_batch

RGB = Image.fromarray(load_sample_image("flower.jpg")[:60, :80])
RNG = np.random.default_rng(0)


def _encoded(image, file_format, **kwargs):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **kwargs)
    return buffer.getvalue()


def _png16(pixels, color_type):
    """Encode 16-bit `[height, width, channels]` as PNG, by its specification: Pillow cannot."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _rgba():
    image = np.asarray(RGB.convert("RGBA")).copy()
    image[..., 3] = 3 * np.arange(80)
    return Image.fromarray(image)


FORMATS = {
    "CMYK JPEG, inverted as Adobe's are": _encoded(RGB.convert("CMYK"), "JPEG", quality=90),
    "grey JPEG": _encoded(RGB.convert("L"), "JPEG"),
    "progressive JPEG": _encoded(RGB, "JPEG", progressive=True),
    "JPEG of one pixel": _encoded(RGB.crop((0, 0, 1, 1)), "JPEG"),
    "PNG of one pixel": _encoded(RGB.crop((0, 0, 1, 1)), "PNG"),
    "palette PNG": _encoded(RGB.quantize(64), "PNG"),
    "palette PNG with a transparent color": _encoded(RGB.quantize(64), "PNG", transparency=3),
    "black-and-white PNG": _encoded(RGB.convert("1"), "PNG"),
    "grey PNG with alpha, which is dropped": _encoded(RGB.convert("LA"), "PNG"),
    "RGBA PNG, alpha dropped": _encoded(_rgba(), "PNG"),
    "16-bit RGB PNG": _png16(RNG.integers(0, 2**16, (20, 30, 3)), 2),
    "16-bit RGBA PNG": _png16(RNG.integers(0, 2**16, (20, 30, 4)), 6),
    "16-bit PNG, grey with alpha": _png16(RNG.integers(0, 2**16, (20, 30, 2)), 4),
    "first image of an animated GIF": _encoded(
        RGB.quantize(), "GIF", save_all=True, append_images=[RGB.rotate(180).quantize()]
    ),
    "WebP": _encoded(RGB, "WEBP", lossless=True),
    "lossy WebP": _encoded(RGB, "WEBP", quality=80),
}


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_is_decoded_like_pillow_bit_for_bit(file_format):
    expected = np.asarray(Image.open(io.BytesIO(FORMATS[file_format])).convert("RGB"))
    np.testing.assert_array_equal(decoding.decode(tf.constant(FORMATS[file_format])), expected)
    pixels = image_formats.decode(FORMATS[file_format], 3)  # without TensorFlow
    np.testing.assert_array_equal(to_batch(pixels, Data()), expected)
    header = image_formats.read_header(FORMATS[file_format])
    assert header == (
        *pixels.shape[:2],
        image_formats.decode(FORMATS[file_format]).shape[2],
        pixels.dtype.name,
    )


def test_sixteen_bits_of_grey_become_the_upper_eight():
    """Unlike Pillow, which clips values above 255 in this mode alone."""
    pixels = RNG.integers(0, 2**16, (20, 30), dtype=np.uint16)
    ours = decoding.decode(tf.constant(_encoded(Image.fromarray(pixels), "PNG")))
    np.testing.assert_array_equal(ours, np.repeat(pixels[..., None] >> 8, 3, axis=-1))
    without_tensorflow = image_formats.decode(_encoded(Image.fromarray(pixels), "PNG"), 3)
    np.testing.assert_array_equal(to_batch(without_tensorflow, Data()), ours)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (9, 7)])
def test_an_image_smaller_than_the_crop_is_enlarged(size):
    image = RGB.crop((0, 0, *size))
    pixels = tf.constant(np.asarray(image), tf.float32)
    expected = np.asarray(
        image.resize((size[0] * 16 // min(size), size[1] * 16 // min(size)), Image.BILINEAR)
    )
    top, left = (round((side - 16) / 2) for side in expected.shape[:2])
    ours = host_views.evaluation_crop(pixels, resize_to=16, size=16).numpy().astype(int)
    assert np.abs(ours - expected[top : top + 16, left : left + 16]).max() <= 1
    for view in Recipe().views.values():
        assert host_views.make_view(pixels, view, 32, tf.constant([0, 5], tf.int64)).shape == (32, 32, 3)
    larger = host_ops.resize(pixels, (24, 24), "bicubic").numpy()
    assert np.abs(larger - np.asarray(image.resize((24, 24), Image.BICUBIC)).astype(int)).max() <= 1


WHOLE = {file_format: _encoded(RGB, file_format) for file_format in ("JPEG", "PNG", "GIF", "WEBP")}


def _damaged():
    jpeg, png = WHOLE["JPEG"], WHOLE["PNG"]
    yield "empty", b"", "is empty"
    yield "text", b"this is no image\n", "is not an image"
    for kept in (0.02, 0.3, 0.6, 0.99):
        yield f"JPEG, {kept:.0%} of it", jpeg[: int(kept * len(jpeg))], "damaged JPEG"
    yield "JPEG without its end", jpeg[:-2], "damaged JPEG"
    progressive = _encoded(RGB, "JPEG", progressive=True)
    yield "half of a progressive JPEG", progressive[: len(progressive) // 2], "damaged JPEG"
    for file_format in ("PNG", "GIF", "WEBP"):
        yield (
            f"half of a {file_format}",
            WHOLE[file_format][: len(WHOLE[file_format]) // 2],
            "truncated or damaged",
        )
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 255
    yield "PNG with a wrong byte", bytes(flipped), "damaged PNG"
    yield "TIFF", _encoded(RGB, "TIFF"), "is a TIFF file, which is not supported"


@pytest.mark.parametrize(
    ("encoded", "words"), [case[1:] for case in _damaged()], ids=[c[0] for c in _damaged()]
)
def test_what_pillow_refuses_is_refused_and_named(encoded, words):
    """Except TIFF, which Pillow reads. Partial recovery of a truncated JPEG is off."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(tf.constant(encoded))
    assert words in failure_reason(encoded, pillow_only=True)
    if not words.startswith("is a TIFF"):
        with pytest.raises(OSError):
            Image.open(io.BytesIO(encoded)).convert("RGB")
        with pytest.raises(DecodeError):
            image_formats.decode(encoded, 3)


def test_a_jpeg_with_a_wrong_byte_that_decodes_is_what_pillow_makes_of_it():
    """A JPEG has no checksums, so neither reports an error."""
    wrong = bytearray(WHOLE["JPEG"])
    wrong[len(wrong) * 9 // 10] ^= 16
    assert np.any(decoding.decode(tf.constant(bytes(wrong))) != decoding.decode(tf.constant(WHOLE["JPEG"])))
    expected = np.asarray(Image.open(io.BytesIO(bytes(wrong))).convert("RGB"))
    np.testing.assert_array_equal(decoding.decode(tf.constant(bytes(wrong))), expected)
