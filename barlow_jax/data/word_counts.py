"""Word counts of the captions of a TFDS split, cached in the folder of the prepared data set.

COCO's training captions are in records with 19 GB of images, all of which every start would have to read. The
counts depend on the split alone, so any command may write the file; if none can, each counts for itself.
"""

from collections.abc import Callable, Iterable, Mapping
import pathlib
import re
from typing import Any

from barlow_jax.data.captions import WORD, count_words
from barlow_jax.io import files, log


def load_or_count(folder: Any, split: str, read: Callable[[], Iterable[list[str]]]) -> Mapping[str, int]:
    """Return the word counts of a TFDS split, such as "train[:10%]", from the cache file if it is valid.

    The folder is that of the prepared data set, with its version; `read` returns the captions of each image.
    """
    path = pathlib.Path(folder) / f"word_counts-{re.sub(r'[^A-Za-z0-9]+', '_', split)}.json"
    key = {"split": split, "word": WORD}
    if "://" in str(folder):  # a bucket, where no file is written
        return dict(count_words(caption for captions in read() for caption in captions))
    cached = files.read_json(path) if path.exists() else {}
    if {name: cached.get(name) for name in key} == key:
        return cached["counts"]
    counts = dict(count_words(caption for captions in read() for caption in captions))
    try:
        files.write_json(path, key | {"counts": counts})
    except OSError as error:
        log.warning(f"{path} cannot be written ({error}); the next start counts the words of {split!r} again")
    return counts
