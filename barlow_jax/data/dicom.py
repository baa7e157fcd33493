"""DICOM files, with pydicom (the extra `dicom`): from the file to pixels."""

import io

import numpy as np

from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.errors import UserError


def decode(content: bytes) -> np.ndarray:
    """Return `[height, width]` or `[height, width, C]` pixels, of any type."""
    try:
        import pydicom
    except ImportError:
        raise UserError(
            "DICOM files are read by pydicom, which is not installed; pip install 'barlow_jax[dicom]'"
        ) from None
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = dataset.pixel_array
    if dataset.BitsAllocated == 1:
        pixels = pixels.astype(bool)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":  # stored values count from white to black
        is_signed = dataset.PixelRepresentation == 1
        pixels = (-1 if is_signed else 2**dataset.BitsStored - 1) - pixels
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        if pixels.ndim > 3:
            raise DecodeError(f"is a DICOM of {len(pixels)} frames of color: write one frame per file")
        pixels = np.moveaxis(pixels, 0, 2)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return pixels if (slope, intercept) == (1, 0) else (pixels * slope + intercept).astype(np.float32)
