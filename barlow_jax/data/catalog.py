"""Sizes and availability of data sets, for checks before anything slow starts.

TensorFlow is imported only for data sets of TFDS.
"""

from collections.abc import Iterable, Mapping
import difflib
import os
import pathlib
import re
from typing import Any

from etils import epath

from barlow_jax.config import schema as config_lib
from barlow_jax.data import npz, sklearn_digits
from barlow_jax.errors import UserError

# Data sets that this package reads itself. They need no preparation, or one of a second.
_BUILT_IN = ("digits", "captioned_digits", "folder", "arrays")
# Sizes of data sets that are not prepared yet. TFDS publishes them online; a machine may be offline.
_NUM_IMAGES = {
    "digits": sklearn_digits.NUM_IMAGES,
    "imagenet2012": {"train": 1_281_167, "validation": 50_000},
    # Karpathy and Fei-Fei's split.
    "coco_captions": {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
}
# TFDS's in a folder of classes; all formats that `views.decode` reads in a folder without. The format itself
# is recognised by the first bytes of a file, not by its name.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ALL_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".webp", ".bmp")


def count_images(data: config_lib.Data, splits: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """Return the number of images by split, where known without preparing the data set, and problems."""
    if not splits:
        return {}, []
    try:
        if data.name == "folder":
            return _count_folder(data, splits)
        if data.name == "arrays":
            return npz.count_images(data, splits)
        if data.name == "captioned_digits":
            return _known_counts(data, splits, sklearn_digits.NUM_IMAGES)
        builder = tfds_builder(data)
    except UserError as error:
        return {}, [str(error)]
    infos = builder.info.splits
    if not infos:  # not prepared yet, and no sizes are published with the data set
        return _known_counts(data, splits, _NUM_IMAGES.get(data.name, {}))
    counts, problems = {}, []
    for split in splits:
        try:
            counts[split] = infos[split].num_examples
        except (KeyError, ValueError):
            problems.append(_no_split(data, split, infos))
    return counts, problems


def _known_counts(
    data: config_lib.Data, splits: tuple[str, ...], sizes: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    parts = [part for split in splits for part in re.findall(r"(\w+)(?:\[[^]]*\])?", split)]
    counts = {split: sizes[split] for split in splits if split in sizes}
    return counts, [_no_split(data, part, sizes) for part in parts if sizes and part not in sizes]


def _no_split(data: config_lib.Data, split: str, existing: Iterable[str]) -> str:
    return f"config.data: {data.name} has no split {split!r}; it has {', '.join(existing)}"


def unavailable_reason(data: config_lib.Data) -> str | None:
    """Return why a data set cannot be read now, with the remedy; None if it can. Nothing is prepared."""
    splits = tuple(dict.fromkeys((data.train_split, data.eval_split)))
    _, problems = count_images(data, splits)
    if problems or data.name in _BUILT_IN:
        return problems[0] if problems else None
    builder = tfds_builder(data)
    if builder.data_path.exists():
        return None
    root = str(builder.data_path).removesuffix(builder.info.full_name).rstrip("/")
    return f"TFDS's {data.name} is not prepared in {root}; prepare it with launch/prepare_data.sh"


def tfds_builder(data: config_lib.Data) -> Any:
    """Return the TFDS builder of a data set.

    Raises:
      UserError: TFDS is not installed, or has no such data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"config.data.name: {data.name} is read by TFDS, which cannot be imported ({error}); install "
            "tensorflow and tensorflow-datasets, or provide the images with config.data.name=arrays"
        ) from None

    if data.name == "digits":
        from barlow_jax.data.tfds_digits import Digits

        return Digits(data_dir=data.data_dir)
    try:
        return tfds.builder(data.name, data_dir=data.data_dir)
    except tfds.core.DatasetNotFoundError:
        names = [*_BUILT_IN, *tfds.list_builders()]
        near = difflib.get_close_matches(data.name, names, 1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"config.data.name: TFDS has no data set {data.name!r}{hint}") from None
    except ValueError as error:  # an unknown builder config: "imagenet2012_subset/2pct"
        raise UserError(f"config.data.name: {data.name}: {str(error).splitlines()[0]}") from None


def _count_folder(data: config_lib.Data, splits: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    if not data.data_dir:
        return {}, ["config.data.data_dir: a folder data set needs the path of <split>/<class>/<image>"]
    root = epath.Path(data.data_dir)
    if not root.is_dir():
        return {}, [f"config.data.data_dir: there is no folder {root}"]
    counts, problems = {}, []
    for split in splits:
        if not (root / split).is_dir():
            folders = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "no folders"
            problems.append(f"config.data: {root} has no folder {split!r}; it has {folders}")
            continue
        classes = [path for path in (root / split).iterdir() if path.is_dir()]
        counts[split] = sum(_is_image(image.name) for c in classes for image in c.iterdir())
    return counts, problems


def image_files(folder: str) -> list[str]:
    """Return the sorted relative paths of all images below a folder, by their suffix (ALL_SUFFIXES).

    Linked folders are followed, each once; names that begin with a dot are ignored.

    Raises:
      UserError: the folder does not exist, or holds no image.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--images: there is no folder {folder}; a bucket must be mounted (gcsfuse)")
    paths, visited = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if (real_path := os.path.realpath(root)) in visited:
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in names if not name.startswith(".") and _is_image(name, ALL_SUFFIXES))
        paths += [os.path.relpath(os.path.join(root, name), folder) for name in images]
    if not paths:
        raise UserError(
            f"--images: there is no image in {folder} or below it; "
            f"their names end in {', '.join(ALL_SUFFIXES)}"
        )
    return sorted(paths)


def _is_image(name: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    return pathlib.PurePath(name).suffix.lower() in suffixes
