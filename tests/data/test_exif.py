"""EXIF orientation in files of every kind, against Pillow's `exif_transpose`."""

import dataclasses
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
import pytest
from sklearn.datasets import load_sample_image
import tensorflow as tf

from barlow_jax.config.recipe import View, without
from barlow_jax.config.schema import Data
from barlow_jax.data import decoding, exif, image_formats, splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange

GEOMETRY = without(View(), ("jitter", "grayscale", "blur"))
IMAGE = Image.fromarray(load_sample_image("flower.jpg")[100:130, 200:240])
TAG = 0x0112


def _block(orientation, order="<", kind=3, offset=8):
    """Return an EXIF block, byte by byte: two tags, of which the second is the orientation."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", offset) + bytes(offset - 8)
    value = struct.pack(
        f"{order}I" if kind == 4 else f"{order}HH", *([orientation] if kind == 4 else [orientation, 0])
    )
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    return (
        start
        + struct.pack(f"{order}H", 2)
        + make
        + struct.pack(f"{order}HHI", TAG, kind, 1)
        + value
        + bytes(4)
    )


def _saved(file_format, **kwargs):
    buffer = io.BytesIO()
    IMAGE.save(buffer, file_format, **kwargs)
    return buffer.getvalue()


def _jpeg(block, *, before=b"", jfif=True):
    """Return a JPEG with an EXIF segment behind the segments `before`."""
    plain = _saved("JPEG", quality=90)
    start = plain[:20] if jfif else plain[:2]
    return start + before + _segment(0xE1, b"Exif\0\0" + block) + plain[20:]


def _segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _png_with_late_exif(block):
    plain = _saved("PNG", pnginfo=None, dpi=(72, 72))
    chunk = b"eXIf" + block
    return (
        plain[:-12]
        + struct.pack(">I", len(block))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + plain[-12:]
    )


MAKERS = {
    "JPEG of a camera": lambda o: _jpeg(_block(o), jfif=False),
    "JPEG with JFIF": lambda o: _jpeg(_block(o, ">")),
    "JPEG, value of four bytes": lambda o: _jpeg(_block(o, ">", kind=4)),
    "JPEG, tags far behind": lambda o: _jpeg(_block(o, offset=6000)),
    "JPEG, long comments and XMP first": lambda o: _jpeg(
        _block(o),
        before=b"\xff" + _segment(0xFE, b"Exif\0\0II*\0" * 900) + _segment(0xE1, b"http://ns.adobe.com\0"),
    ),
    "JPEG by Pillow": lambda o: _saved("JPEG", exif=b"Exif\0\0" + _block(o), icc_profile=bytes(5000)),
    "PNG": lambda o: _saved("PNG", exif=_block(o)),
    "PNG, block at the end": lambda o: _png_with_late_exif(_block(o)),
    "WebP": lambda o: _saved("WEBP", exif=_block(o, ">"), lossless=True),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_orientation_is_followed_like_pillow_bit_for_bit(kind):
    for value in range(1, 9):
        encoded = MAKERS[kind](value)
        stored = Image.open(io.BytesIO(encoded))
        assert stored.getexif()[TAG] == value
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
        assert expected.shape == ((30, 40, 3) if value < 5 else (40, 30, 3))
        np.testing.assert_array_equal(decoding.decode(tf.constant(encoded)), expected)
        np.testing.assert_array_equal(image_formats.decode(encoded, 3), expected)
        assert image_formats.read_header(encoded)[:2] == expected.shape[:2]
        as_stored = np.asarray(stored.convert("RGB"))
        np.testing.assert_array_equal(decoding.decode(tf.constant(encoded), follow_exif=False), as_stored)
        np.testing.assert_array_equal(image_formats.decode(encoded, 3, follow_exif=False), as_stored)


@pytest.mark.parametrize(
    "encoded",
    [
        *(_saved(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")),
        _saved("JPEG", comment=b"Exif"),
        _jpeg(_block(0)),
        _jpeg(_block(9)),
        _jpeg(_block(2**16 + 6, kind=4)),
        _jpeg(b"II*\0"),
        _jpeg(b"MM\0*\xff\xff\xff\xff"),
        _jpeg(b"rubbish"),
        _jpeg(_block(6)[:28]),
    ],
)
def test_without_a_valid_orientation_the_image_stays_as_it_is(encoded):
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decoding.decode(tf.constant(encoded)), expected)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_usual_files_without_exif_are_recognized_without_python(file_format):
    """A call of Python costs up to a tenth of decoding."""
    assert decoding._is_plain(tf.constant(_saved(file_format)))


def test_arbitrary_bytes_have_no_orientation_and_end_the_search():
    rng = np.random.default_rng(0)
    for kind in MAKERS:
        whole = MAKERS[kind](6)
        assert exif.orientation(whole) == 6
        for end in range(0, len(whole), 37):
            damaged = bytearray(whole)
            damaged[rng.integers(2, 200)] = rng.integers(256)
            assert exif.orientation(whole[:end]) in (0, 1, 6)
            assert 0 <= exif.orientation(bytes(damaged)) <= 8


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Four turned JPEGs, and the same images as PNGs that Pillow turned."""
    roots = []
    for name in ("turned", "upright"):
        root = tmp_path_factory.mktemp(name)
        for number, value in enumerate((3, 5, 6, 8)):
            encoded = _jpeg(_block(value), jfif=bool(number % 2))
            path = root / f"{number}.jpg"
            if name == "turned":
                path.write_bytes(encoded)
            else:  # the names of both are the same, and so is the order; the format is found in the bytes
                ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).save(path, "PNG")
        settings = {"train_split": "train+held_out", "image_size": 16, "eval_resize": 20, "canvas": 48}
        roots.append(Data(name="images", data_dir=str(root), **settings))
    return roots


@pytest.mark.parametrize("augment_on", ["host", "device"])
def test_views_are_those_of_the_upright_images(folders, augment_on):
    sample_range = SampleRange(EpochSampler(0, 4, 4), 0, 1)

    def views(data, **changes):
        data = dataclasses.replace(data, augment_on=augment_on, **changes)
        batches = splits.open_split(data, data.train_split).train_batches(data, {"a": GEOMETRY}, sample_range)
        return [view for batch in batches for view in batch.views.values()]

    turned, upright = map(views, folders)
    assert len(turned) == len(upright)
    for ours, expected in zip(turned, upright, strict=True):
        np.testing.assert_array_equal(ours, expected)
    stored = views(folders[0], follow_exif=False)
    assert np.any(stored[0] != upright[0])


def test_evaluations_embeddings_and_decoded_images_are_upright(folders):
    turned, upright = (splits.open_images(data.data_dir, data) for data in folders)
    both = [next(s.eval_batches(folders[0], batch_size=4, shard=ProcessShard())) for s in (turned, upright)]
    np.testing.assert_array_equal(*(batch.views["eval"] for batch in both))
    whole = [split.decode_all(folders[0]).views for split in (turned, upright)]
    for name in ("canvas", "shape"):
        np.testing.assert_array_equal(whole[0][name], whole[1][name])
    assert whole[0]["shape"].tolist() == [[30, 40], [40, 30], [40, 30], [40, 30]]
    as_stored = dataclasses.replace(folders[0], follow_exif=False)
    shapes = splits.open_images(folders[0].data_dir, as_stored).decode_all(as_stored).views["shape"]
    assert shapes.tolist() == [[30, 40]] * 4
