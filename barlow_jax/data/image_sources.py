"""Sources of images: a folder, a list or table of files, tar shards, Hugging Face data, NumPy arrays.

An .npz has the images as `images`, and each further array `[N]` is a column. In a folder of .npz files each
file is a split; `numpy.savez` writes them, and `launch/prepare_data.sh --arrays` converts TFDS data.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import dataclasses
import errno
import glob
import json
import os
import re
import stat
import tarfile
from typing import Any
import zipfile
import zlib

import numpy as np

from barlow_jax.config import parts
from barlow_jax.data import folders, tables
from barlow_jax.data.folders import IMAGE_SUFFIXES
from barlow_jax.errors import UserError

FOLDERS, SPLIT = "folders", "split"  # columns
_SPLIT_FOLDERS = {"train", "val", "valid", "validation", "test"}  # splits, if all images lie in several


@dataclasses.dataclass(frozen=True)
class Source:
    """All N images of a source, in its order."""

    names: Sequence[str]
    read: Callable[[int], bytes | np.ndarray]  # see `collection.Collection`
    sizes: Sequence[int]  # bytes, or another number that changes with the content; -1 = cannot be opened
    columns: Mapping[str, Sequence[Any]]  # [N] each: labels, SPLIT, and FOLDERS, the first one in each path
    left_out: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)  # names by reason
    path: Callable[[int], str | None] = lambda index: None  # see `collection.Collection`
    is_ordered: bool = False  # its splits keep this order


def open_source(path: str, label_column: str | None, splits: Collection[str] = ()) -> Source:
    """Open the source at a path; its kind is recognized by the suffix, that of a folder by its content.

    If all of `splits`, the splits in use, are folders of images in the path, those are its splits.

    Raises:
      UserError: the path is missing, damaged or of another kind, or what reads it is not installed.
    """
    if parts.is_own("source", path):
        return _open_own(path)
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist")
    if os.path.isdir(path):
        if any(os.path.exists(f"{path}/{name}") for name in ("dataset_dict.json", "dataset_info.json")):
            return _open_hugging_face(path, [])
        if splits and all(os.path.isdir(os.path.join(path, split)) for split in splits):
            listing = folders.list_splits(path, splits)
            if listing.names:
                return _open_files(path, listing.names, _split_columns(path, listing.names), listing.left_out)
        listing = folders.list_images(path)
        if not listing.names and (shards := listing.left_out.get(".tar files")):
            return _open_shards(path, shards, label_column)
        if not listing.names and (parquet := listing.left_out.get(".parquet files")):
            return _open_hugging_face(path, parquet)
        if not listing.names and (arrays := listing.left_out.get(".npz files")):
            return _open_split_arrays(path, sorted(arrays))
        return _open_files(path, listing.names, _folder_columns(path, listing.names), listing.left_out)
    match os.path.splitext(path)[1].lower():
        case ".txt" | ".csv" | ".tsv" | ".parquet":
            columns, root = tables.read(path), os.path.dirname(os.path.abspath(path))
            names = [
                os.path.relpath(name, root) if os.path.isabs(name) else os.path.normpath(name)
                for name in columns.pop("path")
            ]
            return _open_files(root, names, _folder_columns(root, names) | columns, {})
        case ".tar":
            return _open_shards(path, [""], label_column)
        case ".npy" | ".npz":
            return _open_arrays(path)
    raise UserError(f"{path} is no source; pass a folder or a .txt, .csv, .parquet, .tar, .npz or .npy file")


def _folder_columns(root: str, names: Sequence[str]) -> dict[str, list[str]]:
    splits = {name.partition(os.sep)[0] for name in names}
    if len(splits) > 1 and splits <= _SPLIT_FOLDERS:
        return _split_columns(root, names)
    return {FOLDERS: [name.split(os.sep, 1)[0] if os.sep in name else "" for name in names]}


def _split_columns(root: str, names: Sequence[str]) -> dict[str, list[str]]:
    parts = [name.split(os.sep, 2) for name in names]
    listed = {split: _listed_classes(root, split) for split in {part[0] for part in parts}}
    classes = [listed[part[0]].get(part[-1], part[1] if part[2:] else "") for part in parts]
    return {SPLIT: [part[0] for part in parts], FOLDERS: classes}


def _listed_classes(root: str, split: str) -> dict[str, str]:
    """Return the class by file name of a split without class folders, from Tiny ImageNet's list, if any."""
    path = os.path.join(root, split, f"{split}_annotations.txt")
    if not os.path.isfile(path):
        return {}
    return {line[0]: line[1] for line in map(str.split, _read(path).decode().splitlines()) if line[1:]}


def _open_files(
    root: str, names: list[str], columns: Mapping[str, Any], left_out: Mapping[str, Any]
) -> Source:
    def path(index: int) -> str:
        return os.path.join(root, names[index])

    sizes = [_size(path(index)) for index in range(len(names))]
    return Source(names, lambda index: _read(path(index)), sizes, columns, left_out, path)


def _size(path: str) -> int:
    try:
        status = os.stat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) else -1


def _open_shards(root: str, shards: Sequence[str], label_column: str | None) -> Source:
    """Open .tar shards, such as WebDataset's: members are read by their offsets, without extraction.

    The class of a sample is its member with the suffix `label_column`, or that key of its .json.
    """
    names, members, samples, labels, left_out = [], [], [], {}, defaultdict(list)
    for shard in sorted(shards):
        path = os.path.join(root, shard) if shard else root
        for member in _members(path):
            name = os.path.join(shard, os.path.normpath(member.name))
            folder, base = os.path.split(name)
            position, (key, _, extension) = (path, member.offset_data, member.size), base.partition(".")
            if base.startswith("."):
                left_out["hidden"].append(name)
            elif label_column and extension in (label_column, "json"):
                label = _sample_label(_read(*position), extension, label_column)
                labels |= {} if label is None else {(folder, key): label}
            elif os.path.splitext(base)[1].lower() in IMAGE_SUFFIXES:
                names.append(name)
                members.append(position)
                samples.append((folder, key))
            else:
                left_out[f".{extension} files"].append(name)
    columns = {label_column: [labels.get(sample) for sample in samples]} if labels else {}
    sizes = [size for _, _, size in members]
    return Source(names, lambda index: _read(*members[index]), sizes, columns, left_out)


def _members(path: str) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            yield from (member for member in archive if member.isreg())
            archive.fileobj.seek(archive.offset)  # the module ignores what follows a damaged header
            if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no valid header at byte {archive.offset}")
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"{path} is damaged or compressed ({error}); write it again as a plain .tar"
        ) from None


def _read(path: str, offset: int = 0, size: int = -1) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _sample_label(content: bytes, extension: str, column: str) -> Any:
    try:
        text = content.decode()
        return text if extension == column else json.loads(text).get(column)
    except (ValueError, AttributeError):  # neither text nor a JSON object
        return None


def _open_arrays(path: str) -> Source:
    """Open an .npy, which is mapped into memory, or `images` of an .npz; its other `[N]` are columns."""
    columns, version = {}, os.path.getsize(path)
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(images, np.ndarray):
            with images as file:
                arrays, version = dict(file), file.zip.getinfo("images.npy").CRC
            images = arrays.pop("images")
            columns = {k: array.tolist() for k, array in arrays.items() if array.shape == images.shape[:1]}
    except KeyError:
        raise UserError(f"{path} has no array images, [N, height, width, channels]") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged, or holds Python objects ({error})") from None
    if images.ndim not in (3, 4) or 0 in images.shape or images.dtype.kind not in "uif":
        found = f"{images.dtype} of shape {images.shape}"
        raise UserError(
            f"{path}: images must be numbers [N, height, width] or [N, height, width, channels], got {found}"
        )
    return Source([*map(str, range(len(images)))], images.__getitem__, [version] * len(images), columns)


def _open_split_arrays(folder: str, files: Sequence[str]) -> Source:
    """Open a folder of .npz files: each is a split, whose images keep their order."""
    parts = {os.path.splitext(name)[0]: _open_arrays(os.path.join(folder, name)) for name in files}
    rows = [(part, index) for part in parts.values() for index in range(len(part.names))]
    keys = sorted({key for part in parts.values() for key in part.columns})
    columns = {
        key: [part.columns[key][i] if key in part.columns else None for part, i in rows] for key in keys
    }
    columns[SPLIT] = [split for split, part in parts.items() for _ in part.names]
    names = [f"{split}/{i}" for split, (_, i) in zip(columns[SPLIT], rows, strict=True)]
    sizes = [part.sizes[i] for part, i in rows]
    return Source(names, lambda index: rows[index][0].read(rows[index][1]), sizes, columns, is_ordered=True)


def _open_own(name: str) -> Source:
    """Open the images that a user's function returns: a mapping with images, and `[N]` columns."""
    columns = parts.call(name, parts.find("source", name))
    try:
        columns = dict(columns)
        images = columns.pop("images")
        lengths = {column: len(values) for column, values in columns.items()}
        names = [str(value) for value in columns.pop("path", range(len(images)))]
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"{name} must return a dict with images and columns, got {type(columns).__name__} ({error!r})"
        ) from None
    if wrong := {column: length for column, length in lengths.items() if length != len(names)}:
        raise UserError(f"{name} returned {len(names)} images, but columns of other lengths: {wrong}")
    return Source(names, images.__getitem__, [0] * len(names), columns)


def _open_hugging_face(path: str, parquet: Sequence[str]) -> Source:
    """Open a folder that `save_to_disk` wrote, or Parquet files such as `test-00000-of-00003.parquet`."""
    try:
        import datasets
        import pyarrow.compute as pc
    except ImportError as error:
        raise UserError(f"{path} is read by the package datasets ({error}); install barlow_jax[hf]") from None
    datasets.disable_progress_bars()
    files = defaultdict(list)
    for name in sorted(parquet):
        shard = re.match(r"(.+?)-\d+-of-\d+", os.path.basename(name))
        files[shard[1] if shard else "train"].append(glob.escape(os.path.join(path, name)))
    load, source = datasets.load_from_disk, {"dataset_path": path}
    if parquet:
        load, source = datasets.load_dataset, {"path": "parquet", "data_files": files}
    try:
        loaded = load(**source)
        splits = loaded if isinstance(loaded, dict) else {"train": loaded}
        rows = datasets.concatenate_datasets([*splits.values()])
    except Exception as error:  # datasets passes on those of pyarrow and fsspec
        raise UserError(f"{path} cannot be read by the package datasets ({error})") from None
    features, kinds = rows.features, ("struct<bytes: ", "binary", "large_binary")
    types = [(field.name, str(field.type)) for field in features.arrow_schema]
    key = next((name for kind in kinds for name, of in types if of.startswith(kind)), None)
    if key is None:
        raise UserError(f"{path} has no column of images; it has {', '.join(features)}")
    images = rows.select_columns([key]).cast_column(key, datasets.Image(decode=False))

    def read(index: int) -> bytes:
        image = images[index][key]
        if image is None or image["bytes"] is None:
            raise FileNotFoundError(errno.ENOENT, "the data set holds no image for it")
        return image["bytes"]

    batches = images.with_format("arrow").iter(1024)
    lengths = (pc.fill_null(pc.binary_length(pc.struct_field(t[key], "bytes")), -1) for t in batches)
    sizes = [size for length in lengths for size in length.to_pylist()]
    columns = {name: rows[name] for name in features if name != key}
    for name in columns:
        if class_names := getattr(features[name], "names", None):
            columns[name] = [class_names[c] if c is not None and c >= 0 else None for c in columns[name]]
    if len(splits) > 1:
        columns[SPLIT] = [split for split, part in splits.items() for _ in range(len(part))]
    names = [f"{split}/{index}" for split, part in splits.items() for index in range(len(part))]
    return Source(names, read, sizes, columns)
