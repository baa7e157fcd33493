"""Captions as word ids: splitting into words, the vocabulary, and the sampling of one caption per image.

Words are runs of letters and digits in lower case, with inner apostrophes ("a dog's ball"); all other
punctuation is dropped. The vocabulary holds the words that occur at least `data.caption_min_count` times in
the captions of the training split, the most frequent first, equally frequent ones in alphabetical order. It
depends on nothing else, so it is the same after a restart and in every evaluation. Ids: 0 padding, 1 unknown
word, then the vocabulary.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import re
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.io import files, log
from barlow_jax.io.paths import Path
from barlow_jax.types import PADDING, UNKNOWN

FIRST_WORD_ID = UNKNOWN + 1
WORD = r"[^\W_]+(?:['\u2019][^\W_]+)*"
# Separates this random stream from the others that are seeded by (seed, position).
_STREAM = 0xCA97


class Captions(NamedTuple):
    """All M captions of a split, grouped by image; T words each."""

    words: np.ndarray  # [M, T] int32 ids
    example: np.ndarray  # [M] int32 index of the image in the split, ascending


def split_words(caption: str) -> list[str]:
    """Split a caption into words.

    >>> split_words("A seven, thick -- it leans LEFT.")
    ['a', 'seven', 'thick', 'it', 'leans', 'left']
    """
    return re.findall(WORD, caption.lower())


def count_words(captions: Iterable[str]) -> collections.Counter[str]:
    """Count the occurrences of each word."""
    return collections.Counter(word for caption in captions for word in split_words(caption))


def load_or_count(folder: Any, split: str, read: Callable[[], Iterable[list[str]]]) -> Mapping[str, int]:
    """Return the word counts of a TFDS split, such as "train[:10%]", from the cache file if it is valid.

    COCO's training captions are in records with 19 GB of images, all of which every start would have to read.
    The counts depend on the split alone, so any command may write the file, which is in the folder of the
    prepared data set; if none can, each counts for itself. `read` returns the captions of each image.
    """
    path = Path(folder) / f"word_counts-{re.sub(r'[^A-Za-z0-9]+', '_', split)}.json"
    key = {"split": split, "word": WORD}
    cached = files.read_json(path) if path.exists() else {}
    if {name: cached.get(name) for name in key} == key:
        return cached["counts"]
    counts = dict(count_words(caption for captions in read() for caption in captions))
    try:
        files.write_json(path, key | {"counts": counts})
    except OSError as error:
        log.warning(f"{path} cannot be written ({error}); the next start counts the words of {split!r} again")
    return counts


class Vocabulary:
    """Vocabulary: a mapping from words to ids."""

    def __init__(self, counts: Mapping[str, int], min_count: int):
        """Create a vocabulary of the words that occur at least `min_count` times."""
        words = [word for word, count in counts.items() if count >= min_count]
        words.sort(key=lambda word: (-counts[word], word))
        self._ids = {word: FIRST_WORD_ID + rank for rank, word in enumerate(words)}

    def __len__(self) -> int:
        """Return the number of ids, including padding and the unknown word."""
        return FIRST_WORD_ID + len(self._ids)

    def encode(self, caption: str, length: int) -> np.ndarray:
        """Return `[length]` int32 ids, cut or padded; a caption without words is one unknown word."""
        ids = [self._ids.get(word, UNKNOWN) for word in split_words(caption)[:length]] or [UNKNOWN]
        return np.array(ids + [PADDING] * (length - len(ids)), np.int32)

    def encode_all(self, captions: Sequence[Sequence[str]], length: int) -> Captions:
        """Encode the captions of all images, given as a list per image."""
        words = [self.encode(caption, length) for image in captions for caption in image]
        example = np.repeat(np.arange(len(captions), dtype=np.int32), [len(image) for image in captions])
        return Captions(np.array(words, np.int32).reshape(-1, length), example)


def sample_caption(captions: Sequence[str], seed: int, position: int) -> str:
    """Sample one of an image's captions, uniformly, from (seed, global position); "" if it has none."""
    if not captions:
        return ""
    return captions[np.random.default_rng((_STREAM, seed, position)).integers(len(captions))]


def no_captions_error(name: str) -> UserError:
    """Return the error of reading captions of a data set that has none."""
    return UserError(
        f"config.data.caption_words: {name} has no captions; set it to 0, or use another data set"
    )
