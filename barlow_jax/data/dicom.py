"""DICOM files, with pydicom (the extra `dicom`): from the file to pixels."""

import io
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.errors import UserError


def decode(content: bytes) -> np.ndarray:
    """Return `[height, width]` or `[height, width, C]` pixels, of any type."""
    pydicom = _pydicom()
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = dataset.pixel_array
    if dataset.BitsAllocated == 1:
        pixels = pixels.astype(bool)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":  # stored values count from white to black
        is_signed = dataset.PixelRepresentation == 1
        pixels = (-1 if is_signed else 2**dataset.BitsStored - 1) - pixels
    if _frames(dataset) > 1:
        if pixels.ndim > 3:
            raise DecodeError(f"is a DICOM of {_frames(dataset)} frames of color: write one frame per file")
        pixels = np.moveaxis(pixels, 0, 2)
    slope, intercept = _rescale(dataset)
    return pixels if (slope, intercept) == (1, 0) else (pixels * slope + intercept).astype(np.float32)


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of what `decode` returns."""
    dataset = _pydicom().dcmread(file, stop_before_pixels=True)
    is_palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
    channels = _frames(dataset) * (3 if is_palette else dataset.SamplesPerPixel)
    kind = "i" if dataset.get("PixelRepresentation", 0) else "u"
    stored = np.dtype(bool if dataset.BitsAllocated == 1 else f"{kind}{dataset.BitsAllocated // 8}")
    dtype = stored if _rescale(dataset) == (1, 0) else np.dtype(np.float32)
    return (dataset.Rows, dataset.Columns, channels), dtype


def _frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _rescale(dataset: Any) -> tuple[float, float]:
    return float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))


def _pydicom() -> ModuleType:
    try:
        import pydicom
    except ImportError:
        raise UserError(
            "DICOM files are read by pydicom, which is not installed; pip install 'barlow_jax[dicom]'"
        ) from None
    return pydicom
