"""scikit-learn's digits with generated captions that describe their shape ("a thick seven, leaning left").

A caption names the class and two properties of the pixel values x, with rows r from the top and columns c:

    weight = mean of x / 255                       five words, from "very thin" to "very thick"
    lean = -sum x (r - r0) (c - c0) / sum x (r - r0)^2      r0, c0 the center of mass; five words

The lean is the slope of the stroke: columns to the right for each row upwards. Each image has five of seven
phrasings, chosen by its row number in scikit-learn's table.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.config.schema import Data
from barlow_jax.data.captions import Captions, Vocabulary, count_words, sample_caption
from barlow_jax.data.collection import Collection, open_collection
from barlow_jax.data.image_split import ImageSplit
from barlow_jax.data.sampler import SampleRange
from barlow_jax.types import Batch

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Words, and the upper bounds of all but the last one. About a fifth of the images has each weight.
WEIGHTS = ("very thin", "thin", "medium", "thick", "very thick"), (0.27, 0.295, 0.315, 0.335)
LEANS = (
    ("leaning far left", "leaning left", "upright", "leaning right", "leaning far right"),
    (-0.15, -0.05, 0.05, 0.15),
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
CAPTIONS_PER_IMAGE = 5


def weight_and_lean(pixels: np.ndarray) -> tuple[str, str]:
    """Return the words for weight and lean of a `[height, width]` image of pixel values 0..255."""
    x = pixels / 255.0
    rows, columns = np.mgrid[: x.shape[0], : x.shape[1]]
    ink = max(float(x.sum()), 1e-9)
    down, right = rows - (x * rows).sum() / ink, columns - (x * columns).sum() / ink
    lean = -(x * down * right).sum() / max(float((x * down**2).sum()), 1e-9)
    return _word(float(x.mean()), *WEIGHTS), _word(float(lean), *LEANS)


def make_captions(pixels: np.ndarray, label: int, row: int) -> list[str]:
    """Return the five captions of an image; `row` is its row number in scikit-learn's table."""
    weight, lean = weight_and_lean(pixels)
    name = NUMBERS[label]
    a_number = f"{'an' if name == 'eight' else 'a'} {name}"
    chosen = np.random.default_rng((0, row)).permutation(len(PHRASINGS))[:CAPTIONS_PER_IMAGE]
    return [PHRASINGS[i].format(number=name, a_number=a_number, weight=weight, lean=lean) for i in chosen]


class CaptionedDigits(ImageSplit):
    """A `splits.Split` of the captioned digits; without `data.caption_words`, of the digits alone."""

    def __init__(self, data: Data, split: str):
        """Open a split, with the vocabulary of `data.train_split`."""
        opened = {name: open_collection(data, name) for name in {split, data.train_split}}
        super().__init__(opened[split], data)
        captions = {name: [_captions(of, i) for i in range(len(of.names))] for name, of in opened.items()}
        counts = count_words(caption for image in captions[data.train_split] for caption in image)
        self.captions, self.vocabulary = captions[split], Vocabulary(counts, data.caption_min_count)

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Implement `Split.train_batches`."""
        batches = super().train_batches(data, views, sample_range)
        for step, batch in zip(sample_range.steps, batches, strict=True):
            if data.caption_words:
                captions = self._sample_captions(data, sample_range, step)
                batch = batch._replace(views={**batch.views, SECOND_VIEW: captions})
            yield batch

    def read_captions(self, data: Data) -> Captions:
        """Implement `Split.read_captions`."""
        return self.vocabulary.encode_all(self.captions, data.caption_words)

    def _sample_captions(self, data: Data, sample_range: SampleRange, step: int) -> np.ndarray:
        """Return `[B, T]` word ids."""
        captions = (
            sample_caption(self.captions[index], sample_range.sampler.seed, position)
            for index, position in zip(*(row.tolist() for row in sample_range.batch(step)), strict=True)
        )
        return np.stack([self.vocabulary.encode(caption, data.caption_words) for caption in captions])


def _captions(digits: Collection, index: int) -> list[str]:
    row = int(digits.names[index].partition("/")[2])
    return make_captions(digits.read(index), int(digits.labels[index]), row)


def _word(value: float, words: tuple[str, ...], upper_bounds: tuple[float, ...]) -> str:
    return words[int(np.searchsorted(upper_bounds, value))]
