"""scikit-learn's digits with captions: what an image says of itself, in several phrasings ("a thick seven, leaning left").

A caption names the class, and two facts that are computed from the levels x, rows r from the top and columns c:

    weight = mean of x / 255                       five words, from "very thin" to "very thick"
    lean = -sum x (r - r0) (c - c0) / sum x (r - r0)^2      r0, c0 the centre of mass; five words

The lean is the slope of the stroke: columns to the right for each row upwards. Each image has five of seven phrasings,
drawn once by its place in scikit-learn's table. Nothing here needs TensorFlow.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.data import captions as captions_lib, npz, sklearn_digits
from barlow_jax.data.arrays import ArraySplit
from barlow_jax.data.captions import Captions, Vocabulary
from barlow_jax.data.sampler import SampleRange
from barlow_jax.errors import UserError
from barlow_jax.types import Batch

NAME = "captioned_digits"
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Up to the first number the first word, and so on. The weights are of about a fifth of the images each.
WEIGHTS = ("very thin", "thin", "medium", "thick", "very thick"), (0.27, 0.295, 0.315, 0.335)
LEANS = (
    ("leaning far left", "leaning left", "upright", "leaning right", "leaning far right"),
    (
        -0.15,
        -0.05,
        0.05,
        0.15,
    ),
)
PHRASINGS = (
    "{a_number}, {weight}, {lean}",
    "a {weight} {number}, {lean}",
    "The number {number}: {weight} and {lean}.",
    "{lean}, a {weight} {number}",
    "{a_number} of {weight} strokes, {lean}",
    "Someone wrote a {weight} {number}, {lean}.",
    "this {number} is {weight}, and it is {lean}",
)
PER_IMAGE = 5


def facts(levels: np.ndarray) -> tuple[str, str]:
    """The words for weight and lean of an image `[height, width]` of levels 0..255."""
    x = levels / 255.0
    rows, columns = np.mgrid[: x.shape[0], : x.shape[1]]
    ink = max(float(x.sum()), 1e-9)
    down, right = rows - (x * rows).sum() / ink, columns - (x * columns).sum() / ink
    lean = -(x * down * right).sum() / max(float((x * down**2).sum()), 1e-9)
    return _word(float(x.mean()), *WEIGHTS), _word(float(lean), *LEANS)


def describe(levels: np.ndarray, label: int, number: int) -> list[str]:
    """The five captions of an image, the `number`-th of scikit-learn's table."""
    weight, lean = facts(levels)
    name = NUMBERS[label]
    a_number = f"{'an' if name == 'eight' else 'a'} {name}"
    chosen = np.random.default_rng((0, number)).permutation(len(PHRASINGS))[:PER_IMAGE]
    return [PHRASINGS[i].format(number=name, a_number=a_number, weight=weight, lean=lean) for i in chosen]


class CaptionedDigits(ArraySplit):
    """A split of them; without `data.caption_words` the digits alone."""

    def __init__(self, digits: sklearn_digits.DigitImages, captions: list[list[str]], vocabulary: Vocabulary):
        levels = np.broadcast_to(digits.pixels[..., np.newaxis], (*digits.pixels.shape, 3))
        super().__init__(npz.Images(levels, digits.labels.astype(np.int32), len(NUMBERS)), NAME)
        self.captions, self.vocabulary = captions, vocabulary

    @classmethod
    def of(cls, data: config_lib.Data, split: str) -> "CaptionedDigits":
        """Opens a split; the vocabulary is that of `data.train_split`."""
        there = sklearn_digits.read()
        for name in (split, data.train_split):
            if name not in there:
                raise UserError(f"config.data: {NAME} has no split {name!r}; it has {', '.join(there)}")
        described = {
            name: [describe(*row) for row in zip(*there[name], strict=True)]
            for name in {split, data.train_split}
        }
        counts = captions_lib.count_words(c for several in described[data.train_split] for c in several)
        return cls(there[split], described[split], Vocabulary(counts, data.caption_min_count))

    def train_batches(
        self, data: config_lib.Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        steps = sample_range.steps
        for step, batch in zip(steps, super().train_batches(data, views, sample_range), strict=True):
            if data.caption_words:
                batch = batch._replace(
                    views={**batch.views, SECOND_VIEW: self._drawn(data, sample_range, step)}
                )
            yield batch

    def read_captions(self, data: config_lib.Data) -> Captions:
        return self.vocabulary.all_ids(self.captions, data.caption_words)

    def _drawn(self, data: config_lib.Data, sample_range: SampleRange, step: int) -> np.ndarray:
        """`[B, T]` word ids."""
        chosen = (
            captions_lib.drawn(self.captions[index], sample_range.sampler.seed, position)
            for index, position in zip(*(row.tolist() for row in sample_range.batch(step)), strict=True)
        )
        return np.stack([self.vocabulary.ids(caption, data.caption_words) for caption in chosen])


def _word(value: float, words: tuple[str, ...], ends: tuple[float, ...]) -> str:
    return words[int(np.searchsorted(ends, value))]
