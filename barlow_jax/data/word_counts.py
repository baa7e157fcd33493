"""How often the captions of a TFDS split have each word, kept beside the prepared data set.

COCO's training captions stand in records with 19 GB of images, which every start would read whole: the counts are a
file in the data set's folder. They are a function of the split alone, so any program may write it, and where none can,
each counts for itself.
"""

from collections.abc import Callable, Iterable, Mapping
import pathlib
import re
import sys
from typing import Any

from barlow_jax.data.captions import WORD, count_words
from barlow_jax.io import files


def of(folder: Any, split: str, read: Callable[[], Iterable[list[str]]]) -> Mapping[str, int]:
    """The counts of a split of the data set that is prepared in a folder.

    Args:
      folder: a path of the data set, its version included.
      split: by its name, which may be a part of one.
      read: the captions of each of its images.
    """
    path = pathlib.Path(folder) / f"word_counts-{re.sub(r'[^A-Za-z0-9]+', '_', split)}.json"
    key = {"split": split, "word": WORD}
    if "://" in str(folder):  # a bucket, not a folder
        return dict(count_words(caption for captions in read() for caption in captions))
    kept = files.read_json(path) if path.exists() else {}
    if {name: kept.get(name) for name in key} == key:
        return kept["counts"]
    counts = dict(count_words(caption for captions in read() for caption in captions))
    try:
        files.write_json(path, key | {"counts": counts})
    except OSError as error:
        print(
            f"the words of {split!r} were counted, and are again at the next start: {error}", file=sys.stderr
        )
    return counts
