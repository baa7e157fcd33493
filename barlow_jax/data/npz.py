"""Images and labels in NumPy's file format: one `<split>.npz` for each split, in `config.data.data_dir`.

  images       [N, height, width, 3] uint8; grey images also [N, height, width] or [N, height, width, 1]
  labels       [N] integers, the classes 0 .. C - 1; optional
  num_classes  [] C; optional, by default the largest label + 1

`numpy.savez` writes such a file, compressed or not; `launch/prepare_data.sh --arrays` converts TFDS data.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple
import zipfile
import zlib

from etils import epath
import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.data import slices
from barlow_jax.data.pixel_arrays import read_array_header
from barlow_jax.errors import UserError

_HOW_TO_WRITE = "numpy.savez writes such files, and launch/prepare_data.sh --arrays converts a TFDS data set"
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
)  # raised by zipfile and numpy for invalid bytes


class Header(NamedTuple):
    """Shape and dtype of an array in the file."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Images(NamedTuple):
    """A split in memory."""

    pixels: np.ndarray  # [N, height, width, 3] uint8; a broadcast view of one channel if the images are grey
    labels: np.ndarray  # [N] int32; -1 if the data set has none
    num_classes: int | None


def count_images(data: Data, split: str) -> int:
    """Return the number of images of a split, read from the headers of its files.

    Raises:
      UserError: as in `read_headers`, or the split expression is wrong.
    """
    return slices.count(split, lambda name: read_headers(data, name)["images"].shape[0], _exists(data))


def read_headers(data: Data, split: str) -> dict[str, Header]:
    """Return the checked headers of a split's arrays by name, without loading an array.

    Raises:
      UserError: the file is missing, or differs from the format in the module's docstring.
    """
    path = _path(data, split)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            headers = {key: _read_header(archive, name) for key, name in members.items()}
    except _DAMAGED as error:
        raise UserError(f"config.data.data_dir: {path} is not what numpy.savez writes ({error})") from None
    for problem in _problems(headers, data.canvas):
        raise UserError(f"config.data.data_dir: {path}: {problem}")
    return headers


def load(data: Data, split: str) -> Images:
    """Load a split.

    Raises:
      UserError: as in `read_headers`, or a file is damaged, labels are out of range, or the parts of a split
        expression do not go together.
    """
    parts = slices.parse(split, _exists(data))
    whole = [_load(data, part.name) for part in parts]
    if len({(images.pixels.shape[1:], images.num_classes is None) for images in whole}) > 1:
        raise UserError(
            f"config.data: the parts of {split!r} differ in the size of images, or in having labels"
        )
    rows = [part.rows(len(images.pixels)) for part, images in zip(parts, whole, strict=True)]
    if len(parts) == 1:
        return whole[0]._replace(pixels=whole[0].pixels[rows[0]], labels=whole[0].labels[rows[0]])
    pixels, labels = (
        np.concatenate([images[field][row] for images, row in zip(whole, rows, strict=True)])
        for field in (0, 1)
    )
    return Images(pixels, labels, max(images.num_classes or 0 for images in whole) or None)


def _load(data: Data, split: str) -> Images:
    headers, path = read_headers(data, split), _path(data, split)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            pixels = arrays["images"]
            labels = arrays["labels"].astype(np.int64) if "labels" in headers else None
            num_classes = int(arrays["num_classes"]) if "num_classes" in headers else None
    except _DAMAGED as error:
        raise UserError(f"config.data.data_dir: {path} is damaged ({error}); write it again") from None
    pixels = pixels if pixels.ndim == 4 else pixels[..., np.newaxis]
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    if labels is None:
        return Images(pixels, np.full(len(pixels), -1, np.int32), None)
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"config.data.data_dir: {path}: labels must be 0 .. num_classes - 1 = {num_classes - 1}, got "
            f"{labels.min()} .. {labels.max()}; omit the array if the images have no labels"
        )
    return Images(pixels, labels.astype(np.int32), num_classes)


def _exists(data: Data) -> Callable[[str], bool]:
    return lambda name: (epath.Path(data.data_dir or "") / f"{name}.npz").exists()


def _path(data: Data, split: str) -> epath.Path:
    if not data.data_dir:
        raise UserError("config.data.data_dir: arrays need the folder of <split>.npz")
    root = epath.Path(data.data_dir)
    if not root.is_dir():
        raise UserError(f"config.data.data_dir: there is no folder {root}")
    path = root / f"{split}.npz"
    if not path.exists():
        names = ", ".join(sorted(p.name for p in root.iterdir() if p.name.endswith(".npz"))) or "no .npz file"
        raise UserError(
            f"config.data: {root} has no {split}.npz; it has {names}; {_HOW_TO_WRITE}; {slices.HINT}"
        )
    return path


def _read_header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as file:
        return Header(*read_array_header(file))


def _problems(headers: dict[str, Header], canvas: int) -> Iterator[str]:
    images, labels, classes = (headers.get(key) for key in ("images", "labels", "num_classes"))
    if images is None:
        yield f"there is no array images; it has {', '.join(headers) or 'none'}; {_HOW_TO_WRITE}"
        return
    channels = images.shape[3:] if len(images.shape) == 4 else (1,)
    if len(images.shape) not in (3, 4) or channels not in ((1,), (3,)) or 0 in images.shape:
        yield f"images must be [N, height, width, 3 or 1] or [N, height, width], got {images.shape}"
    elif images.dtype != np.uint8:
        yield f"images must be uint8 pixel values 0..255, got {images.dtype}"
    elif max(images.shape[1:3]) > canvas:
        yield (
            f"images of {images.shape[1]} x {images.shape[2]} pixels do not fit into config.data.canvas = "
            f"{canvas}; set it to {max(images.shape[1:3])} or more"
        )
    elif labels and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        yield f"labels must be {images.shape[0]} integers, got {labels.dtype} of shape {labels.shape}"
    elif classes and (classes.shape != () or classes.dtype.kind not in "iu"):
        yield f"num_classes must be one integer, got {classes.dtype} of shape {classes.shape}"
