"""Decoded pixels of any type: the types that are kept, the axis of the channels, the mapping to a batch."""

import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.config.value_range import AUTO, parse_limits

_EXACT = 2**24  # integers up to here are float32 values


class DecodeError(ValueError):
    """The reason why an image cannot be decoded, as a predicate: "is empty"."""


def in_dtype(pixels: np.ndarray) -> np.ndarray:
    """Return `[height, width, C]` pixels as uint8, uint16 or float32 (`image_formats`).

    Raises:
      DecodeError: the shape is another, or float32 does not hold the values.
    """
    kind = pixels.dtype.kind
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DecodeError(f"has the shape {pixels.shape}; an image is [height, width] or [height, width, C]")
    if kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(f"u{pixels.dtype.itemsize}", copy=False)
    if kind not in "iuf":
        raise DecodeError(f"has pixels of type {pixels.dtype}: write it as uint8, uint16 or float32")
    if kind != "f" and max(int(pixels.max()), -int(pixels.min())) > _EXACT:
        raise DecodeError(
            f"has {pixels.dtype} values of {pixels.min()} to {pixels.max()}, which float32 does not hold "
            "exactly: write it as uint16 or float32"
        )
    pixels = pixels.astype(np.float32, copy=False)
    if not np.isfinite(pixels).any():
        raise DecodeError("has no finite pixel value")
    return pixels


def channels_last(pixels: np.ndarray, channels: int | None) -> np.ndarray:
    """Return `[C, height, width]` or `[height, width, C]` as the latter; `[height, width]` as it is.

    The channels are the end that has `channels`, otherwise the shorter one.
    """
    if pixels.ndim != 3:
        return pixels
    first, last = pixels.shape[0], pixels.shape[2]
    is_first = first == channels != last or (channels not in (first, last) and first < last)
    return np.moveaxis(pixels, 0, 2) if is_first else pixels


def check_values(pixels: np.ndarray, data: Data) -> None:
    """Check that `to_batch` is defined for these pixels.

    Raises:
      DecodeError: they are floats, and either the batch is uint8, or they exceed 0..1 and no range is given.
    """
    if pixels.dtype != np.float32:
        return
    if data.pixel_dtype == "uint8":
        raise DecodeError("has float or signed pixels: set config.data.pixel_dtype=float32")
    if data.value_range == "dtype":
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        if low < 0 or high > 1:
            raise DecodeError(
                f"has values of {low:g} to {high:g}, beyond 0..1: set config.data.value_range=auto, or to "
                "low,high"
            )


def to_batch(pixels: np.ndarray, data: Data) -> np.ndarray:
    """Map decoded pixels to those of a batch, as `config.data.pixel_dtype` and `value_range` state.

    The pixels are `[height, width, C]` uint8, uint16 or float32; NaN becomes 0, the lower end. The result is
    uint8 0..255, of uint16 the upper 8 bits, or float32 in 0..1. Here `value_range` is dtype or numbers.
    """
    if data.pixel_dtype == "uint8":
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    if data.value_range == AUTO:
        raise ValueError("an automatic value range is measured first: image_stats.measure_values")
    limits = parse_limits(data.value_range, data.channels)
    if limits is None and pixels.dtype != np.float32:
        return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    scaled = pixels.astype(np.float32)
    if limits is not None:
        scaled = (scaled - limits[:, 0]) / (limits[:, 1] - limits[:, 0])
    np.clip(scaled, 0, 1, out=scaled)
    return np.nan_to_num(scaled, copy=False) if pixels.dtype == np.float32 else scaled
