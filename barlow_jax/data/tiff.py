"""TIFF files: from the file to `[height, width]` or `[height, width, C]` pixels."""

import io
import logging
from typing import BinaryIO

import numpy as np
from PIL import Image
import tifffile

from barlow_jax.data import exif
from barlow_jax.data.pixel_arrays import DecodeError, channels_last

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is raised
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_ORIENTATION, _NO_DATA = 274, 42113  # tags; the latter is GDAL's


def decode(content: bytes, channels: int | None, follow_exif: bool) -> np.ndarray:
    """Return the pixels of the first series of pages, of any type."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        page, pixels = series.keyframe, series.asarray(maxworkers=1)
        pixels = _colors(_arrange(pixels, series.axes, page, channels), page)
        if pixels.dtype.kind == "f" and _NO_DATA in page.tags:
            pixels = np.where(pixels == page.nodata, np.nan, pixels)
        return exif.turn(pixels, _orientation(page)) if follow_exif else pixels


def read_header(file: BinaryIO, follow_exif: bool) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of what `decode` returns with `channels=None`."""
    with tifffile.TiffFile(file) as tiff:
        series, page = tiff.series[0], tiff.series[0].keyframe
        pixels = np.broadcast_to(np.zeros((), series.dtype), series.shape)  # without memory
        height, width, *rest = _arrange(pixels, series.axes, page, None).shape
        if page.photometric.name in ("PALETTE", "SEPARATED"):
            rest = [3]
        is_turned = follow_exif and _orientation(page) > 4
        dtype = np.dtype(np.uint8) if page.photometric.name == "PALETTE" else series.dtype
        return (width, height, *rest) if is_turned else (height, width, *rest), dtype


def _arrange(pixels: np.ndarray, axes: str, page: tifffile.TiffPage, channels: int | None) -> np.ndarray:
    """Return a view with the channels last and without alpha. Axes: S samples, Q unknown, others pages."""
    kept = [k for k, axis in enumerate(axes) if axis in "YX" or pixels.shape[k] > 1]
    pixels = pixels.squeeze(tuple(k for k in range(len(axes)) if k not in kept))
    more = [k for k, axis in enumerate(axes[k] for k in kept) if axis not in "YX"]
    if len(more) > 1:
        raise DecodeError(
            f"is a TIFF of the shape {pixels.shape}, which has more than height, width and channels: write "
            "one image per file"
        )
    if not more:
        return pixels
    name = axes[kept[more[0]]]
    if name == "Q":
        return channels_last(pixels, channels)
    pixels = np.moveaxis(pixels, more[0], 2)
    has_alpha = name == "S" and page.extrasamples and page.extrasamples[-1] in _ALPHA
    return pixels[..., :-1] if has_alpha else pixels


def _colors(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Return RGB of palettes and CMYK, and inverted grey turned."""
    space, dtype = page.photometric.name, pixels.dtype
    if space == "PALETTE":
        return (page.colormap >> 8).astype(np.uint8).T[pixels]
    if space == "MINISWHITE" and dtype.kind == "b":
        return ~pixels
    if space == "MINISWHITE" and dtype.kind == "u":
        return np.array(2**page.bitspersample - 1, dtype) - pixels
    if space == "SEPARATED" and dtype == np.uint8 and pixels.shape[2:] == (4,):
        return np.asarray(Image.fromarray(pixels, "CMYK").convert("RGB"))
    if space in ("MINISBLACK", "RGB") or (space == "YCBCR" and page.compression.name.endswith("JPEG")):
        return pixels
    raise DecodeError(f"is a TIFF of the color space {space} with {dtype} pixels: convert it to grey or RGB")


def _orientation(page: tifffile.TiffPage) -> int:
    return int(page.tags.valueof(_ORIENTATION, 1))
