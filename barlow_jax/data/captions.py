"""Captions as word ids: how they are cut into words, the vocabulary, and which caption a step is given.

A caption's words are its runs of letters and digits, lower case, an apostrophe inside one kept ("a dog's ball"); all
other punctuation goes. The vocabulary is a function of the training split and `data.caption_min_count` alone, so it
is the same after a restart and in every evaluation: the words that its captions have so many times, the most frequent
first, equally frequent ones in alphabetical order. Ids: 0 padding, 1 any other word, then the vocabulary's.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import re
from typing import NamedTuple

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.types import PADDING, UNKNOWN

FIRST = UNKNOWN + 1  # id of a word
WORD = r"[^\W_]+(?:['\u2019][^\W_]+)*"
# Tells this stream of random numbers from the others that come of (seed, position).
_STREAM = 0xCA97


class Captions(NamedTuple):
    """All captions of a split; those of one image follow each other."""

    words: np.ndarray  # [M, T] int32 ids
    example: np.ndarray  # [M] int32 index of the image in the split, ascending


def words_of(caption: str) -> list[str]:
    """The words of a caption.

    >>> words_of("A seven, thick -- it leans LEFT.")
    ['a', 'seven', 'thick', 'it', 'leans', 'left']
    """
    return re.findall(WORD, caption.lower())


def count_words(captions: Iterable[str]) -> collections.Counter[str]:
    """How often the captions have each word."""
    return collections.Counter(word for caption in captions for word in words_of(caption))


class Vocabulary:
    """Words to ids."""

    def __init__(self, counts: Mapping[str, int], min_count: int):
        words = [word for word, count in counts.items() if count >= min_count]
        words.sort(key=lambda word: (-counts[word], word))
        self._ids = {word: FIRST + place for place, word in enumerate(words)}

    def __len__(self) -> int:
        """Of ids, padding and the unknown word included."""
        return FIRST + len(self._ids)

    def ids(self, caption: str, length: int) -> np.ndarray:
        """`[length]` int32, cut or padded at the end; a caption without a word is one unknown word."""
        ids = [self._ids.get(word, UNKNOWN) for word in words_of(caption)[:length]] or [UNKNOWN]
        return np.array(ids + [PADDING] * (length - len(ids)), np.int32)

    def all_ids(self, captions: Sequence[Sequence[str]], length: int) -> Captions:
        """Of every caption of every image."""
        words = [self.ids(caption, length) for several in captions for caption in several]
        example = np.repeat(np.arange(len(captions), dtype=np.int32), [len(several) for several in captions])
        return Captions(np.array(words, np.int32).reshape(-1, length), example)


def drawn(captions: Sequence[str], seed: int, position: int) -> str:
    """The caption of an image's several that a run sees at a global position; each is as likely as the others."""
    if not captions:
        return ""
    return captions[np.random.default_rng((_STREAM, seed, position)).integers(len(captions))]


def none_of(name: str) -> UserError:
    """What is raised where captions are asked of a data set that has none."""
    return UserError(
        f"config.data.caption_words: {name} has no captions; set it to 0, or name another data set"
    )
