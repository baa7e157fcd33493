"""Twelve messy collections of images, made from photographs and digits that scikit-learn brings.

Each function writes one collection below a folder, and returns what to pass to `--images`, and to `--labels`
if it has labels.
"""

from collections.abc import Callable, Iterator
import csv
import functools
import io
import os
import pathlib
import tarfile
from typing import NamedTuple

import numpy as np
from PIL import Image
import sklearn.datasets


class Made(NamedTuple):
    """Arguments for a collection, and what a run on it must find."""

    images: pathlib.Path
    num_images: int  # that can be decoded
    channels: int = 3
    dtype: str = "uint8"
    labels: str | pathlib.Path | None = None


@functools.cache
def photographs() -> tuple[np.ndarray, ...]:
    """Return two photographs, `[427, 640, 3]` uint8."""
    return tuple(sklearn.datasets.load_sample_images().images)


def crops(number: int, seed: int, sizes: tuple[int, int] = (40, 120)) -> Iterator[np.ndarray]:
    """Yield crops `[height, width, 3]` uint8 of the photographs, of random sizes and shapes."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        photograph = photographs()[index % 2]
        height, width = rng.integers(*sizes, size=2, endpoint=True)
        top, left = rng.integers(0, (photograph.shape[0] - height, photograph.shape[1] - width))
        yield photograph[top : top + height, left : left + width]


def save(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Write an image in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def flat(root: pathlib.Path) -> Made:
    """One folder of JPEGs, with a text file and a hidden file."""
    for index, pixels in enumerate(crops(90, 0)):
        save(root / f"img_{index:03}.jpg", pixels)
    (root / "notes.txt").write_text("taken in spring")
    (root / ".DS_Store").write_bytes(b"\0")
    return Made(root, 90)


def nested(root: pathlib.Path) -> Made:
    """Folders in folders, with truncated, empty and mislabeled files among the images."""
    for index, pixels in enumerate(crops(80, 1)):
        save(root / f"camera {index % 3}" / f"day{index % 5}" / f"{index}.jpeg", pixels)
    whole = (root / "camera 0" / "day0" / "0.jpeg").read_bytes()
    (root / "camera 1" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "camera 1" / "empty.png").write_bytes(b"")
    (root / "camera 2" / "page.jpg").write_text("<html>404</html>")
    os.symlink(root / "nowhere.png", root / "broken.png")
    return Made(root, 80)


def mixed_sizes(root: pathlib.Path) -> Made:
    """Sides from 16 to 4000 pixels, in five formats."""
    suffixes = ("jpg", "png", "webp", "bmp", "gif")
    for index, pixels in enumerate(crops(70, 2, (16, 400))):
        save(root / f"{index}.{suffixes[index % 5]}", pixels)
    large = np.kron(photographs()[0][:400, :400], np.ones((10, 10, 1), np.uint8))
    save(root / "poster.jpg", large)
    save(root / "strip.png", large[:16])
    return Made(root, 72)


def grayscale(root: pathlib.Path) -> Made:
    """Digits as gray PNGs of 8 x 8 pixels."""
    images = sklearn.datasets.load_digits().images[:150]
    for index, digit in enumerate(images):
        save(root / f"{index}.png", (digit * 15).astype(np.uint8))
    return Made(root, 150)


def sixteen_bit(root: pathlib.Path) -> Made:
    """Gray images of 16 bits with 12-bit values, half of them PNG, half TIFF."""
    for index, pixels in enumerate(crops(80, 4)):
        save(root / f"{index}.{('png', 'tif')[index % 2]}", pixels[..., 1].astype(np.uint16) * 16)
    return Made(root, 80, channels=1, dtype="float32")


def five_channels(root: pathlib.Path) -> Made:
    """TIFFs of five channels and 16 bits, planar."""
    import tifffile

    rng = np.random.default_rng(5)
    for index, pixels in enumerate(crops(70, 5)):
        bands = [*np.moveaxis(pixels, -1, 0), pixels.mean(-1), rng.integers(0, 256, pixels.shape[:2])]
        tifffile.imwrite(
            root / f"{index}.tiff", np.stack(bands).astype(np.uint16) * 40, photometric="minisblack"
        )
    return Made(root, 70, channels=5, dtype="float32")


def dicom(root: pathlib.Path) -> Made:
    """DICOM slices of 12 bits."""
    import pydicom

    for index, pixels in enumerate(crops(60, 6)):
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = (pixels[..., 0].astype(np.uint16) * 16).tobytes()
        data.save_as(root / f"slice{index}.dcm", enforce_file_format=True)
    return Made(root, 60, channels=1, dtype="float32")


def csv_labels(root: pathlib.Path) -> Made:
    """A table of paths, classes and splits."""
    rows = []
    for index, pixels in enumerate(crops(100, 7)):
        save(root / "pictures" / f"{index}.jpg", pixels)
        rows.append(
            (f"pictures/{index}.jpg", ("temple", "flower")[index % 2], "test" if index >= 80 else "train")
        )
    with open(root / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return Made(root / "table.csv", 100, labels=root / "table.csv")


def list_file(root: pathlib.Path) -> Made:
    """A text file that names a part of the images of a folder."""
    for index, pixels in enumerate(crops(90, 8)):
        save(root / "all" / f"{index:02}.png", pixels)
    (root / "use.txt").write_text("\n".join(f"all/{index:02}.png" for index in range(0, 90, 2)) + "\n")
    return Made(root / "use.txt", 45)


def tar_shards(root: pathlib.Path) -> Made:
    """WebDataset shards of images and classes."""
    for shard in range(3):
        with tarfile.open(root / f"shard-{shard:06}.tar", "w") as archive:
            for index, pixels in enumerate(crops(30, 90 + shard)):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG")
                for suffix, content in (("jpg", buffer.getvalue()), ("cls", str(index % 2).encode())):
                    member = tarfile.TarInfo(f"{shard}-{index:04}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return Made(root, 90)


def forty(root: pathlib.Path) -> Made:
    """Forty images, no more."""
    for index, pixels in enumerate(crops(40, 10)):
        save(root / f"{index}.png", pixels)
    return Made(root, 40)


def unicode_names(root: pathlib.Path) -> Made:
    """Names in several scripts, with spaces, brackets and a newline, and folders as classes."""
    names = ("été", "日本語", "кот", "[a]*?", "line\nbreak", "'quote\"", "100%", "a b")
    for index, pixels in enumerate(crops(64, 11)):
        save(root / names[index % 2] / f"{names[index % 8]} {index}.jpg", pixels)
    return Made(root, 64, labels="folders")


COLLECTIONS: dict[str, Callable[[pathlib.Path], Made]] = {
    function.__name__: function
    for function in (
        flat,
        nested,
        mixed_sizes,
        grayscale,
        sixteen_bit,
        five_channels,
        dicom,
        csv_labels,
        list_file,
        tar_shards,
        forty,
        unicode_names,
    )
}
