"""Formats that Pillow does not read (16-bit PNG, TIFF, DICOM, .npy), against the arrays that were written."""

import io
import sys

import imagecodecs
import numpy as np
from PIL import Image
import pytest
import tifffile

from barlow_jax.config.schema import Data
from barlow_jax.data.image_formats import ImageHeader, decode, read_header
from barlow_jax.data.pixel_arrays import DecodeError, check_values, to_batch
from barlow_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 2**16, (20, 30), np.uint16)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
BANDS = RNG.integers(0, 2**12, (20, 30, 5), np.uint16)
CUBE = RNG.integers(0, 256, (5, 20, 30), np.uint8)
FLOAT = RNG.normal(size=(20, 30)).astype(np.float32)


def _tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def _pillow(image, name="TIFF", **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _png(pixels):
    return imagecodecs.png_encode(np.ascontiguousarray(pixels))


def _npy(pixels):
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _pages(*shapes):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for shape in shapes:
            writer.write(np.zeros(shape, np.uint8), metadata=None)
    return buffer.getvalue()


BANDS_FIRST = np.moveaxis(BANDS, 2, 0)
RGBA = np.dstack([RGB, RGB[..., :1]])
PILLOW = Image.fromarray(RGB)
FILES = {  # and the pixels that they hold
    "PNG, 16 bits of grey": (_pillow(Image.fromarray(GREY), "PNG"), GREY),
    "PNG, 16 bits of three colors": (_png(BANDS[..., :3]), BANDS[..., :3]),
    "PNG, 16 bits of grey and alpha": (_png(BANDS[..., :2]), BANDS[..., :1]),
    "PNG, 16 bits of color and alpha": (_png(BANDS[..., :4]), BANDS[..., :3]),
    "TIFF, 16 bits": (_tiff(GREY), GREY),
    "TIFF, big-endian": (_tiff(GREY, byteorder=">"), GREY),
    "BigTIFF": (_tiff(GREY, bigtiff=True), GREY),
    "TIFF, float": (_tiff(FLOAT), FLOAT),
    "TIFF, float of 64 bits": (_tiff(FLOAT.astype(np.float64)), FLOAT),
    "TIFF, int16": (_tiff((GREY // 2).astype(np.int16) - 9), (GREY // 2).astype(np.float32) - 9),
    "TIFF, RGB": (_tiff(RGB, photometric="rgb"), RGB),
    "TIFF, RGB, planar": (_tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB),
    "TIFF, RGBA": (_tiff(RGBA, photometric="rgb"), RGB),
    "TIFF, four bands": (_tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]), RGBA),
    "TIFF, tiled": (_tiff(np.tile(BANDS[..., 0], (3, 3)), tile=(16, 16)), np.tile(BANDS[..., 0], (3, 3))),
    "TIFF, LZW": (_tiff(RGB, photometric="rgb", compression="lzw"), RGB),
    "TIFF, deflate with predictor": (_tiff(GREY, compression="zlib", predictor=True), GREY),
    "TIFF, Zstandard": (_tiff(GREY, compression="zstd"), GREY),
    "TIFF, bands interleaved": (_tiff(BANDS, photometric="minisblack", planarconfig="contig"), BANDS),
    "TIFF, bands as pages": (_tiff(BANDS_FIRST), BANDS),
    "TIFF, bands last, as tifffile writes an array": (_tiff(BANDS), BANDS),
    "TIFF, ImageJ": (_tiff(BANDS_FIRST, imagej=True, metadata={"axes": "CYX"}), BANDS),
    "TIFF, OME": (_tiff(BANDS_FIRST, ome=True, metadata={"axes": "CYX"}), BANDS),
    "TIFF, first of two sizes": (_pages((20, 30), (10, 15)), np.zeros((20, 30), np.uint8)),
    "TIFF, one bit": (
        _tiff(GREY > 999, photometric="minisblack"),
        np.where(GREY > 999, 255, 0).astype(np.uint8),
    ),
    "TIFF, one bit from white": (_tiff(GREY > 999), np.where(GREY > 999, 0, 255).astype(np.uint8)),
    "TIFF, grey from white": (_tiff(GREY, photometric="miniswhite"), 65535 - GREY),
    "TIFF, palette": (_pillow(PILLOW.quantize(32)), np.asarray(PILLOW.quantize(32).convert("RGB"))),
    "TIFF, CMYK": (_pillow(PILLOW.convert("CMYK")), RGB),
    "NPY": (_npy(FLOAT), FLOAT),
    "NPY, channels first": (_npy(CUBE), np.moveaxis(CUBE, 0, 2)),
    "NPY, channels last": (_npy(BANDS), BANDS),
    "NPY, boolean": (_npy(GREY > 999), np.where(GREY > 999, 255, 0).astype(np.uint8)),
    "array in memory": (BANDS, BANDS),
}


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_are_those_that_were_written(name):
    content, expected = FILES[name]
    expected = expected if expected.ndim == 3 else expected[..., None]
    for channels in (None, expected.shape[2]):
        pixels = decode(content, channels)
        np.testing.assert_array_equal(pixels, expected)
        assert pixels.dtype == expected.dtype and pixels.dtype.isnative
    assert read_header(content) == (*expected.shape, expected.dtype.name)
    if expected.shape[2] == 1:
        np.testing.assert_array_equal(decode(content, 3), expected.repeat(3, axis=2))


def test_a_header_is_read_from_the_file(tmp_path):
    for number, (content, _) in enumerate(FILES.values()):
        if isinstance(content, bytes):
            path = tmp_path / str(number)
            path.write_bytes(content)
            assert read_header(str(path)) == read_header(content)


def test_the_orientation_of_a_tiff_is_followed():
    content = _tiff(RGB, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(decode(content), np.rot90(RGB, -1))
    np.testing.assert_array_equal(decode(content, follow_exif=False), RGB)
    assert read_header(content) == (30, 20, 3, "uint8")
    assert read_header(content, follow_exif=False) == (20, 30, 3, "uint8")


def test_missing_values_of_a_geotiff_are_not_numbers():
    """Otherwise -9999 would be the lower end of an automatic value range."""
    holed = FLOAT.copy()
    holed[3:9] = -9999
    pixels = decode(_tiff(holed, extratags=[(42113, "s", 0, "-9999", True)]))[..., 0]
    np.testing.assert_array_equal(pixels, np.where(holed == -9999, np.nan, holed))
    assert pixels.dtype == np.float32


def test_the_channels_of_a_small_array_are_those_of_the_config():
    small = np.zeros((5, 8, 9), np.uint8)
    assert decode(_npy(small), 9).shape == (5, 8, 9)
    assert decode(_npy(small), 5).shape == (8, 9, 5)
    assert decode(_tiff(small), 9).shape == (5, 8, 9)


@pytest.mark.parametrize(
    "content, channels, words",
    [
        (FILES["TIFF, ImageJ"][0], 3, ("5 channels", "config.data.channels is 3")),
        (FILES["TIFF, RGB"][0], 1, ("3 channels", "config.data.channels is 1")),
        (_pages((20, 30, 3), (20, 30, 3)), 3, ("TIFF", "(2, 20, 30, 3)")),
        (_tiff(np.full((4, 4), 2**24 + 1, np.int32)), 1, ("int32", "16777217")),
        (_tiff(np.zeros((4, 4), np.complex64)), 1, ("complex64",)),
        (_tiff(np.full((4, 4), np.nan, np.float32)), 1, ("finite",)),
        (_npy(np.zeros(4)), 1, ("(4,)",)),
        (_npy(np.zeros((0, 4))), 1, ("(0, 4, 1)",)),
        (FILES["NPY"][0][:200], 1, ("NPY",)),
        (FILES["TIFF, LZW"][0][:-900], 3, ("TIFF",)),
        (FILES["TIFF, 16 bits"][0][:900], 1, ("TIFF",)),
        (FILES["PNG, 16 bits of three colors"][0][:-30], 3, ("PNG",)),
        (b"II*\0rest", 3, ("TIFF",)),
        (b"%PDF-1.7", 3, ("PDF",)),
        (b"", 3, ("empty",)),
    ],
)
def test_what_cannot_be_decoded_says_why(content, channels, words):
    with pytest.raises(DecodeError) as error:
        decode(content, channels)
    assert all(word in str(error.value) for word in words)


def test_objects_are_not_unpickled():
    with pytest.raises(DecodeError):
        decode(_npy(np.array([[None]])))


def _dicom(pixels, **attributes):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    dataset.Rows, dataset.Columns = (
        pixels.shape[-2:] if attributes.get("NumberOfFrames") else pixels.shape[:2]
    )
    dataset.SamplesPerPixel = 3 if pixels.shape[2:] == (3,) else 1
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


TWELVE, SIGNED = BANDS[..., 0], (BANDS[..., 0].astype(np.int16) - 1024)
SCAN = {"RescaleSlope": 2, "RescaleIntercept": -1024}


@pytest.mark.parametrize(
    "pixels, attributes, expected",
    [
        (TWELVE, {"BitsStored": 12}, TWELVE),
        (TWELVE, {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}, 4095 - TWELVE),
        (TWELVE, SCAN, 2 * TWELVE.astype(np.float32) - 1024),
        (SIGNED, {}, SIGNED.astype(np.float32)),
        (SIGNED, {"PhotometricInterpretation": "MONOCHROME1"}, -1 - SIGNED.astype(np.float32)),
        (RGB, {}, RGB),
        (CUBE, {"NumberOfFrames": 5}, np.moveaxis(CUBE, 0, 2)),
    ],
)
def test_dicom_has_the_values_of_the_standard(pixels, attributes, expected):
    content = _dicom(pixels, **attributes)
    expected = expected if expected.ndim == 3 else expected[..., None]
    decoded = decode(content)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == expected.dtype
    assert read_header(content) == ImageHeader(*expected.shape, expected.dtype.name)


def _as_batch(pixels, **settings):
    data = Data(name="images", channels=pixels.shape[2], **settings)
    check_values(pixels, data)
    return to_batch(pixels, data)


def test_integers_are_mapped_from_their_whole_range():
    for dtype in (np.uint8, np.uint16):
        pixels = np.array([0, 1, np.iinfo(dtype).max], dtype)[:, None, None]
        mapped = _as_batch(pixels, pixel_dtype="float32")
        assert mapped.dtype == np.float32
        np.testing.assert_array_equal(mapped.ravel(), np.float32([0, 1 / np.iinfo(dtype).max, 1]))


def test_given_limits_hold_for_each_channel_and_clip():
    pixels = np.array([[[0, 0], [100, 100], [500, 500]]], np.uint16)
    mapped = _as_batch(pixels, pixel_dtype="float32", value_range="0,200,100,500")
    np.testing.assert_array_equal(mapped, np.float32([[[0, 0], [0.5, 0], [1, 1]]]))


def test_undefined_values_become_the_lower_end():
    pixels = np.float32([np.nan, np.inf, -np.inf, 2])[:, None, None]
    mapped = _as_batch(pixels, pixel_dtype="float32", value_range="1,3")
    np.testing.assert_array_equal(mapped.ravel(), [0, 1, 0, 0.5])


def test_floats_beyond_one_need_a_range_and_uint8_takes_none():
    for settings, words in [
        ({"pixel_dtype": "float32"}, "value_range"),
        ({"pixel_dtype": "uint8"}, "pixel_dtype"),
    ]:
        with pytest.raises(DecodeError, match=f"config.data.{words}"):
            _as_batch(np.float32([[[0.5]], [[1.5]]]), **settings)
    within = np.float32([[[0.0]], [[np.nan]], [[1.0]]])
    np.testing.assert_array_equal(_as_batch(within, pixel_dtype="float32").ravel(), [0, 0, 1])


def test_dicom_without_its_package_is_an_error_with_the_remedy(monkeypatch):
    content = _dicom(TWELVE)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for function in (decode, read_header):
        with pytest.raises(UserError, match=r"barlow_jax\[dicom\]"):
            function(content)
