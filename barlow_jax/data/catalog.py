"""What a data set holds, said without importing TensorFlow: for checks before anything slow starts."""

from collections.abc import Iterable, Mapping
import difflib
import os
import pathlib
import re
from typing import Any

from barlow_jax.config import schema as config_lib
from barlow_jax.data import npz
from barlow_jax.errors import UserError

NUM_DIGITS = {"train": 1437, "test": 360}
# TFDS publishes these with the data set, where a machine without internet does not see them.
_KNOWN = {
    "digits": NUM_DIGITS,
    "imagenet2012": {"train": 1_281_167, "validation": 50_000},
    # Karpathy and Fei-Fei's split.
    "coco_captions": {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
}
# As TFDS looks for; in a folder without classes all that can be decoded. What a file holds is told from its bytes:
# views.decode.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ALL_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".webp", ".bmp")


def count_images(data: config_lib.Data, splits: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """Images by split, where they are known before preparing the data set; and problems."""
    try:
        if data.name == "folder":
            return _count_folder(data, splits)
        if data.name == "arrays":
            return npz.count(data, splits)
        if data.name == "captioned_digits":
            return _of_known(data, splits, NUM_DIGITS)
        builder = tfds_builder(data)
    except UserError as error:
        return {}, [str(error)]
    known = builder.info.splits
    if not known:  # not prepared yet, and sizes are not published with the data set
        return _of_known(data, splits, _KNOWN.get(data.name, {}))
    counts, problems = {}, []
    for split in splits:
        try:
            counts[split] = known[split].num_examples
        except (KeyError, ValueError):
            problems.append(_no_split(data, split, known))
    return counts, problems


def _of_known(
    data: config_lib.Data, splits: tuple[str, ...], sizes: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    parts = [part for split in splits for part in re.findall(r"(\w+)(?:\[[^]]*\])?", split)]
    counts = {split: sizes[split] for split in splits if split in sizes}
    return counts, [_no_split(data, part, sizes) for part in parts if sizes and part not in sizes]


def _no_split(data: config_lib.Data, split: str, there: Iterable[str]) -> str:
    return f"config.data: {data.name} has no split {split!r}; it has {', '.join(there)}"


def not_at_hand(data: config_lib.Data) -> str | None:
    """Why a data set cannot be read here and now, with what to do; None where it can. Prepares nothing."""
    splits = tuple(dict.fromkeys((data.train_split, data.eval_split)))
    _, problems = count_images(data, splits)
    if problems or data.name in (
        "digits",
        "captioned_digits",
        "folder",
        "arrays",
    ):  # the digits are prepared in a second
        return problems[0] if problems else None
    builder = tfds_builder(data)
    if builder.data_path.exists():
        return None
    root = str(builder.data_path).removesuffix(builder.info.full_name).rstrip("/")
    return f"TFDS's {data.name} is not prepared in {root}; launch/prepare_data.sh does that"


def tfds_builder(data: config_lib.Data) -> Any:
    """The TFDS builder of a data set; UserError, with what to do, where there is none."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"config.data.name: {data.name} is TFDS's, and importing that failed ({error}); install "
            "tensorflow and tensorflow-datasets, or bring the images as config.data.name=arrays"
        ) from None

    if data.name == "digits":
        from barlow_jax.data.digits import Digits

        return Digits(data_dir=data.data_dir)
    try:
        return tfds.builder(data.name, data_dir=data.data_dir)
    except tfds.core.DatasetNotFoundError:
        names = ["digits", "captioned_digits", "folder", "arrays", *tfds.list_builders()]
        near = difflib.get_close_matches(data.name, names, 1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"config.data.name: TFDS has no data set {data.name!r}{hint}") from None
    except ValueError as error:  # an unknown builder config: "imagenet2012_subset/2pct"
        raise UserError(f"config.data.name: {data.name}: {str(error).splitlines()[0]}") from None


def _count_folder(data: config_lib.Data, splits: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    from etils import epath

    if not data.data_dir:
        return {}, ["config.data.data_dir: a folder data set needs the path of <split>/<class>/<image>"]
    root = epath.Path(data.data_dir)
    if not root.is_dir():
        return {}, [f"config.data.data_dir: there is no folder {root}"]
    counts, problems = {}, []
    for split in splits:
        if not (root / split).is_dir():
            there = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "no folder at all"
            problems.append(f"config.data: {root} has no folder {split!r}; it has {there}")
            continue
        classes = [path for path in (root / split).iterdir() if path.is_dir()]
        counts[split] = sum(_is_image(image.name) for c in classes for image in c.iterdir())
    return counts, problems


def image_files(folder: str) -> list[str]:
    """Paths below a folder, relative to it and in their order, of what its name says is an image (ALL_SUFFIXES).

    Folders that are links are gone into, and each once; what is hidden, by a dot, is not looked at.

    Raises:
      UserError: it is no folder, or there is no image in it.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--images: there is no folder {folder}; a bucket must be mounted (gcsfuse)")
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if (here := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        named = (name for name in names if not name.startswith(".") and _is_image(name, ALL_SUFFIXES))
        found += [os.path.relpath(os.path.join(root, name), folder) for name in named]
    if not found:
        raise UserError(
            f"--images: there is no image in {folder}, nor in the folders below it; their names end in "
            f"{', '.join(ALL_SUFFIXES)}"
        )
    return sorted(found)


def _is_image(name: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    return pathlib.PurePath(name).suffix.lower() in suffixes
