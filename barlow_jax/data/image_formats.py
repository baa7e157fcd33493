"""Decoding of images of any bit depth and number of channels; TensorFlow is not needed.

JPEG, PNG, WebP, BMP and GIF (the first frame) are read with Pillow, PNG of 16 bits with imagecodecs, TIFF
with tifffile, DICOM with pydicom, and .npy with NumPy. The result is `[height, width, C]` in the file's own
values:

- uint8 and uint16 stay, one bit becomes 0 and 255, and floats become float32. Other integers become float32
  if that holds them exactly; otherwise the image cannot be decoded.
- Palettes and CMYK become RGB, grey that counts from white (MINISWHITE, MONOCHROME1) is inverted, and alpha
  is dropped. DICOM's rescale slope and intercept are applied.
- The pages of a TIFF and the frames of a DICOM are its channels. Of three axes without names (.npy) the
  channels are the first or the last: the one that has `config.data.channels`, otherwise the shorter one.
- The EXIF or TIFF orientation is followed with `config.data.follow_exif`.
"""

from collections.abc import Iterator
import contextlib
import io
from typing import Any, BinaryIO, NamedTuple
import warnings

import imagecodecs
import numpy as np
from PIL import Image

from barlow_jax.data import exif, tiff
from barlow_jax.data.pixel_arrays import DecodeError, channels_last, in_dtype
from barlow_jax.errors import UserError

# First bytes of the formats that Pillow reads here, of the others that are read, and of some that are not.
PILLOW = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP"}
_OTHER = dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF") | {b"\x93NUMPY": "NPY"}
_NOT_READ = {b"8BPS": "Photoshop", b"%PDF": "PDF", b"<svg": "SVG"}
_HEAD = 2**16  # bytes, in which most files have their EXIF block

Image.MAX_IMAGE_PIXELS = 2**29  # Pillow refuses twice as many; its own limit refuses a large micrograph
warnings.filterwarnings("ignore", "Palette images with Transparency")  # alpha is dropped


class ImageHeader(NamedTuple):
    """Shape and type of the pixels that `decode` returns."""

    height: int
    width: int
    channels: int
    dtype: str  # uint8, uint16 or float32


def decode(
    content: bytes | np.ndarray, channels: int | None = None, *, follow_exif: bool = True
) -> np.ndarray:
    """Decode an image file.

    Args:
      content: of the file, or decoded pixels `[height, width]` or `[height, width, C]`.
      channels: of the result; grey is repeated to three. None: the file's own.
      follow_exif: `config.data.follow_exif`.

    Returns:
      `[height, width, channels]` uint8, uint16 or float32.

    Raises:
      DecodeError: the content is no image that can be read, or has another number of channels.
      UserError: the package that reads the format is not installed.
    """
    if isinstance(content, np.ndarray):
        pixels = content
    else:
        name = _format(content)
        with _decode_errors(name):
            pixels = _decode(content, name, channels, follow_exif)
    pixels = in_dtype(pixels[..., None] if pixels.ndim == 2 else pixels)
    if channels == 3 and pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels not in (None, pixels.shape[2]):
        raise DecodeError(
            f"has {pixels.shape[2]} channels, but config.data.channels is {channels}: set that (with "
            "config.data.pixel_dtype=float32 unless it is 3), or convert the image"
        )
    return np.ascontiguousarray(pixels)


def read_header(content: str | bytes | np.ndarray, *, follow_exif: bool = True) -> ImageHeader:
    """Return shape and type of what `decode` returns with `channels=None`. Only DICOM is decoded for it.

    The content may also be the path of a file, of which only a part is read.

    Raises:
      DecodeError: the content is no image that can be read.
      UserError: as in `decode`.
      OSError: the file cannot be opened.
    """
    if isinstance(content, np.ndarray):
        return _make_header(content.shape, content.dtype)
    with io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as file:
        head = file.read(_HEAD)
        name = _format(head)
        file.seek(0)
        with _decode_errors(name):
            return _read_header(file, head, name, follow_exif)


def failure_reason(head: bytes, *, pillow_only: bool) -> str:
    """Return why a file could not be decoded, judged by its first bytes: a predicate, such as "is empty"."""
    if not head:
        return "is empty"
    for first_bytes, name in (PILLOW | _OTHER | _NOT_READ).items():
        if head.startswith(first_bytes):
            if name in PILLOW.values() or (name in _OTHER.values() and not pillow_only):
                return f"is a truncated or damaged {name}"
            return f"is a {name} file, which is not supported"
    return f"is not an image: it begins with {head[:20]!r}"


def _format(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "DICOM"
    for first_bytes, name in (PILLOW | _OTHER).items():
        if head.startswith(first_bytes):
            return name
    raise DecodeError(failure_reason(head, pillow_only=False))


@contextlib.contextmanager
def _decode_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (DecodeError, UserError):
        raise
    except Exception as error:  # decoders raise errors of many types for damaged files
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise DecodeError(f"is a truncated or damaged {name} ({cause})") from error


def _decode(content: bytes, name: str, channels: int | None, follow_exif: bool) -> np.ndarray:
    """Return the pixels, `[height, width]` or `[height, width, C]`, of any type."""
    if name == "TIFF":
        return tiff.decode(content, channels, follow_exif)
    if name == "DICOM":
        return _decode_dicom(content)
    if name == "NPY":
        return channels_last(np.load(io.BytesIO(content), allow_pickle=False), channels)
    if channels := _channels_of_png16(content):
        pixels = imagecodecs.png_decode(content)
        pixels = pixels.reshape(*pixels.shape[:2], -1)[..., :channels]
    else:
        image = _open_pillow(io.BytesIO(content))
        mode = "RGB" if _pillow_channels(image) == 3 else "L"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return exif.turn(pixels, exif.orientation(content)) if follow_exif else pixels


def _decode_dicom(content: bytes) -> np.ndarray:
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


def _read_header(file: BinaryIO, head: bytes, name: str, follow_exif: bool) -> ImageHeader:
    if name == "TIFF":
        return _make_header(*tiff.read_header(file, follow_exif))
    if name == "DICOM":
        pixels = _decode_dicom(file.read())
        return _make_header(pixels.shape, pixels.dtype)
    if name == "NPY":
        path = getattr(file, "name", None)  # of a file on the disk, which is not read
        pixels = np.load(path or file, mmap_mode="r" if path else None, allow_pickle=False)
        return _make_header(channels_last(pixels, None).shape, pixels.dtype)
    image = _open_pillow(file)
    value = exif.orientation(head) if follow_exif else 1
    if value == 0:  # the block is further on
        file.seek(0)
        value = exif.orientation(file.read())
    width, height = image.size if value <= 4 else image.size[::-1]
    if channels := _channels_of_png16(head):
        return ImageHeader(height, width, channels, "uint16")
    return ImageHeader(height, width, _pillow_channels(image), "uint8")


def _make_header(shape: tuple[int, ...], dtype: Any) -> ImageHeader:
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or 0 in shape:
        in_dtype(np.empty(shape))  # raises
    return ImageHeader(*shape, in_dtype(np.zeros((1, 1, 1), dtype)).dtype.name)


def _open_pillow(file: BinaryIO) -> Image.Image:
    return Image.open(file, formats=tuple(PILLOW.values()))


def _pillow_channels(image: Image.Image) -> int:
    return 1 if image.mode in ("1", "L", "LA", "La") else 3


def _channels_of_png16(head: bytes) -> int:
    """Return the number of channels of a PNG of 16 bits, without alpha; 0 for other files."""
    # Bit depth and color type follow width and height.
    return (3 if head[25] & 2 else 1) if head.startswith(b"\x89PNG") and head[24:25] == b"\x10" else 0
