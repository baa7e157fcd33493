"""Sizes and availability of data sets, for checks before anything slow starts.

TensorFlow is imported only for data sets of TFDS.
"""

from collections.abc import Callable, Mapping
import contextlib
import difflib
import functools
from typing import Any

from barlow_jax.config.data_sets import DATA_SETS
from barlow_jax.config.schema import Data
from barlow_jax.data import collection, sklearn_digits, slices
from barlow_jax.errors import UserError, first_line
from barlow_jax.io import paths

# Data sets that this package reads itself, without TensorFlow.
BUILT_IN = (*sklearn_digits.NAMES, "images")
_TFDS = {d.keys["data.name"]: d for d in DATA_SETS.values() if d.keys["data.name"] not in BUILT_IN}
# Sizes of data sets that are not prepared yet. TFDS publishes them online; a machine may be offline.
_NUM_IMAGES = {
    **dict.fromkeys(sklearn_digits.NAMES, sklearn_digits.NUM_IMAGES),
    "cifar10": {"train": 50_000, "test": 10_000},
    **{name: data_set.num_images for name, data_set in _TFDS.items()},
    "imagenet2012": {"train": 1_281_167, "validation": 50_000},
    # Karpathy and Fei-Fei's split.
    "coco_captions": {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
}
# Classes of the same data sets, for messages before TensorFlow is imported.
NUM_CLASSES = {
    **dict.fromkeys((*sklearn_digits.NAMES, "cifar10"), 10),
    **{name: data_set.num_classes for name, data_set in _TFDS.items()},
    "imagenet2012": 1000,
}


def describe(data: Data) -> str:
    """Return the name of a data set, with the size of its training split if that is known at once."""
    images = _NUM_IMAGES.get(data.name, {}).get(data.train_split)
    classes = f" of {NUM_CLASSES[data.name]} classes" if data.name in NUM_CLASSES else ""
    return data.name + (f", {images} images{classes}" if images else "")


def count_images(data: Data, splits: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """Return the number of images by split, where known without preparing the data set, and problems."""
    counts, problems, builder = {}, [], functools.cache(tfds_builder)
    for split in splits:
        try:
            counts[split] = _count(data, split, builder)
        except UserError as error:
            problems.append(str(error))
    known = {split: number for split, number in counts.items() if number is not None}
    return known, list(dict.fromkeys(problems))


def _count(data: Data, split: str, builder: Callable[[Data], Any]) -> int | None:
    if data.tile:
        from barlow_jax.data import tiles  # imports the decoders

        return len(tiles.list_tiles(collection.open_collection(data, split), data))
    if data.name in BUILT_IN:
        return collection.count_images(data, split)
    # Not prepared yet: there are no splits, unless their sizes are published with the data set.
    return split_size(data.name, split, builder(data).info.splits or _NUM_IMAGES.get(data.name, {}))


def split_size(name: str, split: str, sizes: Mapping[str, Any]) -> int | None:
    """Return the number of examples of a split expression of a data set; None if no sizes are known.

    The sizes are those of its splits by name, or TFDS's `SplitDict`.

    Raises:
      UserError: a split does not exist, or the expression is wrong.
    """

    def size(part: str) -> int:
        if part not in sizes:
            raise UserError(
                f"config.data: {name} has no split {part!r}; it has {', '.join(sizes)}; {slices.HINT}"
            )
        return getattr(sizes[part], "num_examples", sizes[part])

    # What TFDS cannot read, and every slice of other data, is read by `slices`, whose errors name the remedy.
    with contextlib.suppress(KeyError, ValueError, NotImplementedError):
        return size(split) if split in sizes else sizes[split].num_examples
    if sizes:
        return slices.count(split, size)
    if "shard" not in split:  # TFDS alone knows slices by shard
        slices.parse(split)
    return None


def unavailable_reason(data: Data) -> str | None:
    """Return why a data set cannot be read now, with the remedy; None if it can. Nothing is prepared."""
    splits = tuple(dict.fromkeys((data.train_split, data.eval_split)))
    _, problems = count_images(data, splits)
    if problems or data.name in BUILT_IN:
        return problems[0] if problems else None
    builder = tfds_builder(data)
    if builder.data_path.exists():
        return None
    root = str(builder.data_path).removesuffix(builder.info.full_name).rstrip("/")
    return f"TFDS's {data.name} is not prepared in {root}; prepare it with launch/prepare_data.sh"


def without_tfds(name: str, error: ImportError) -> UserError:
    """Return the error for a data set of TFDS if that or TensorFlow is not installed."""
    return UserError(
        f"config.data.name: {name} is read by TFDS and TensorFlow, which cannot be imported ({error}); run "
        "pip install tensorflow tensorflow-datasets, or read files or arrays with config.data.name=images"
    )


def tfds_builder(data: Data) -> Any:
    """Return the TFDS builder of a data set.

    Raises:
      UserError: TFDS is not installed, or has no such data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise without_tfds(data.name, error) from None
    if problem := paths.problem(data.data_dir or ""):
        raise UserError(f"config.data.data_dir: {problem}")
    try:
        return tfds.builder(data.name, data_dir=data.data_dir)
    except tfds.core.DatasetNotFoundError:
        names = [*BUILT_IN, *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(data.name, names, 1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"config.data.name: TFDS has no data set {data.name!r}{hint}") from None
    except ValueError as error:  # an unknown builder config: "imagenet2012_subset/2pct"
        raise UserError(f"config.data.name: {data.name}: {first_line(error)}") from None
