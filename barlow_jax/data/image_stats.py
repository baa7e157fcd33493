"""Statistics of images over a fixed sample: sizes and types from headers, pixel values, and bit depth."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.config.value_range import AUTO, format_limits
from barlow_jax.data.collection import Collection
from barlow_jax.data.folders import printable
from barlow_jax.data.image_formats import ImageHeader, decode, read_header
from barlow_jax.data.pixel_arrays import DecodeError, check_values, to_batch
from barlow_jax.errors import UserError
from barlow_jax.io import log, processors

NUM_IMAGES = 256
_PERCENTILES = 0.1, 99.9
_PIXELS_PER_IMAGE = 4096
_MAX_PIXELS = 2**28  # that are decoded: a few seconds
_NUM_16_BIT = 16  # images that are examined for the range of their 16-bit values
_WIDE_ENOUGH = 2**15  # range of values


class ImageStats(NamedTuple):
    """Headers of a sample of a collection's images, evenly spaced."""

    num_images: int  # in the collection
    headers: Sequence[ImageHeader]  # [n] of the images in the sample that could be read
    failures: Sequence[str]  # the others: their names, and why


class ValueStats(NamedTuple):
    """Pixel values of a sample of a collection's images, `config.data.channels` each."""

    value_range: str  # of `config.data`, as numbers if it was auto
    mean: tuple[float, ...]  # of each channel in 0..1, for `recipe.Normalize`
    std: tuple[float, ...]


def measure(collection: Collection, num: int = NUM_IMAGES) -> ImageStats:
    """Return the headers of up to `num` images; no pixel is decoded."""
    headers, failures = _map(lambda index: header(collection, index), collection, num)
    return ImageStats(len(collection.names), headers, failures)


def header(collection: Collection, index: int, *, follow_exif: bool = True) -> ImageHeader:
    """Return the header of an image, of whose file only a part is read if it is a local one.

    Raises:
      DecodeError: as in `image_formats.read_header`.
      OSError: the file cannot be read.
    """
    path = collection.path(index)
    if path is None:
        return read_header(collection.read(index), follow_exif=follow_exif)
    return _file_header(path, collection.sizes[index], follow_exif)


@functools.lru_cache(maxsize=2**17)  # a command opens several splits, and opening tiles reads all headers
def _file_header(path: str, size: int, follow_exif: bool) -> ImageHeader:
    del size  # tells versions of the file apart
    return read_header(path, follow_exif=follow_exif)


def measure_values(collection: Collection, data: Data, num: int = NUM_IMAGES) -> ValueStats:
    """Measure the value range, if it is auto, and the mean and standard deviation that follow.

    Images count equally: up to 4096 random pixels of each. Values that are not finite are left out.

    Raises:
      UserError: no image of the sample can be decoded.
    """
    headers = measure(collection, num).headers
    if headers:
        size = np.median([header.height * header.width for header in headers])
        num = int(np.clip(_MAX_PIXELS // size, 16, num))
    samples, failures = _map(functools.partial(_sample_pixels, collection, data), collection, num)
    if not samples:
        found = "".join(f"; {failure}" for failure in failures[:1])
        raise UserError(f"config.data: none of {len(failures)} images of a sample can be decoded{found}")
    if data.value_range == AUTO:
        pooled = np.concatenate([pixels[0].astype(np.float32) for pixels in samples])
        limits = np.array([_limits(values) for values in pooled.T])
        data = dataclasses.replace(data, value_range=format_limits(limits))
    mapped = np.concatenate([to_batch(pixels, data)[0] for pixels in samples]).astype(np.float64)
    mapped /= 255 if data.pixel_dtype == "uint8" else 1
    return ValueStats(data.value_range, tuple(mapped.mean(0).tolist()), tuple(mapped.std(0).tolist()))


def _sample_pixels(collection: Collection, data: Data, index: int) -> np.ndarray:
    """Return `[1, n, C]` pixels of an image."""
    pixels = decode(collection.read(index), data.channels, follow_exif=data.follow_exif)
    check_values(pixels, data)
    pixels = pixels.reshape(1, -1, data.channels)
    if pixels.shape[1] <= _PIXELS_PER_IMAGE:
        return pixels
    return pixels[:, np.random.default_rng(index).integers(pixels.shape[1], size=_PIXELS_PER_IMAGE)]


def _limits(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, _PERCENTILES) if len(values) else (0, 0)
    return low, high if high > low else low + max(1, abs(low) / 1000)  # a constant channel becomes 0


def warn_of_narrow_range(
    total: int, read: Callable[[int], bytes | np.ndarray], name: Callable[[int], str]
) -> None:
    """Log a warning if the 16-bit images among some of a split's use less than half of the range.

    Decoding keeps the upper 8 bits, which is right for values 0..65535. Of 12-bit values it leaves 16.
    `read` returns the content of one of `total` images, or its pixels.
    """

    def limits(index: int) -> tuple[int, int, int] | None:
        content = read(index)
        if read_header(content).dtype != "uint16":
            return None
        pixels = decode(content)
        return int(pixels.min()), int(pixels.max()), index

    results = _sample(limits, total, _NUM_16_BIT, threads=1)  # images may be large
    found = [result for _, result in results if isinstance(result, tuple)]
    if not found:
        return
    lows, highs, indices = zip(*found, strict=True)
    low, high = min(lows), max(highs)
    if high - low < _WIDE_ENOUGH:
        log.warning(
            f"{len(found)} of {len(results)} images examined have 16 bits per channel, with values "
            f"{low}..{high} of 0..65535, for example {name(indices[0])}. Decoding keeps the upper 8 "
            f"bits: {(high >> 8) - (low >> 8) + 1} of 256 pixel values. Scale the images to the full range "
            "first, or use --images or config.data.name=images with config.data.pixel_dtype=float32."
        )


def _map(function: Callable[[int], Any], collection: Collection, num: int) -> tuple[list[Any], list[str]]:
    """Return the results for a sample of a collection, and name and reason of images that cannot be read."""
    results, failures = [], []
    for index, result in _sample(function, len(collection.names), num):
        if isinstance(result, Exception):
            failures.append(f"{printable(collection.names[index])} {result}")
        else:
            results.append(result)
    return results, failures


def _sample(
    function: Callable[[int], Any], total: int, num: int, threads: int | None = None
) -> list[tuple[int, Any]]:
    """Return index and result of a sample of images; the result is the exception if one cannot be read."""

    def call(index: int) -> Any:
        try:
            return function(index)
        except (DecodeError, OSError) as error:
            return error

    indices = np.linspace(0, total - 1, min(num, total)).astype(int).tolist()
    with ThreadPoolExecutor(threads or processors.available()) as pool:
        return list(zip(indices, pool.map(call, indices), strict=True))
