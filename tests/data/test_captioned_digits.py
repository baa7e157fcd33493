import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from barlow_jax.config.schema import Data
from barlow_jax.data import captions as captions_lib, sklearn_digits, splits
from barlow_jax.data.captioned_digits import LEANS, PHRASINGS, WEIGHTS, make_captions, weight_and_lean
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

DATA = Data(
    name="captioned_digits",
    eval_split="test",
    image_size=8,
    eval_resize=8,
    canvas=8,
    augment_on="device",
    caption_words=12,
)
WHOLE = ProcessShard()


@pytest.fixture(scope="module")
def source():
    return splits.open_split(DATA, "train")


def _stroke(slope, width):
    """A line through the center of 41 x 41 pixels, `slope` columns to the right for each row upwards."""
    rows, columns = np.mgrid[:41, :41]
    return np.where(np.abs(columns - 20 - slope * (20 - rows)) <= width / 2, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (-0.25, "leaning far left"),
        (-0.1, "leaning left"),
        (0, "upright"),
        (0.1, "leaning right"),
        (0.25, "leaning far right"),
    ],
)
def test_a_stroke_leans_as_it_was_drawn(slope, words):
    assert weight_and_lean(_stroke(slope, 5))[1] == words
    assert weight_and_lean(np.roll(_stroke(slope, 5), 3, axis=1))[1] == words, "in any position"
    assert weight_and_lean(_stroke(slope, 5) // 3)[1] == words, "and at any brightness"


@pytest.mark.parametrize(
    ("mean", "words"),
    [(0.2, "very thin"), (0.28, "thin"), (0.3, "medium"), (0.32, "thick"), (0.5, "very thick")],
)
def test_more_ink_is_a_thicker_sign(mean, words):
    assert weight_and_lean(np.full((8, 8), round(255 * mean), np.uint8))[0] == words


def test_an_empty_image_has_words_too():
    assert weight_and_lean(np.zeros((8, 8), np.uint8)) == ("very thin", "upright")


def test_the_lean_of_real_digits_is_that_of_their_moments():
    """The reference is scipy's center of mass, and the second moments about it."""
    ends = np.array([-np.inf, *LEANS[1], np.inf])
    digits = sklearn_digits.open_source("digits")
    for pixels in map(digits.read, range(60)):
        row, column = ndimage.center_of_mass(pixels)
        rows, columns = np.mgrid[:8, :8]
        both, up = (
            np.average(p, weights=pixels) for p in ((rows - row) * (columns - column), (rows - row) ** 2)
        )
        word = LEANS[0].index(weight_and_lean(pixels)[1])
        assert ends[word] - 1e-9 <= -both / up <= ends[word + 1] + 1e-9


def test_an_image_has_five_phrasings_of_the_same_words():
    captions = make_captions(_stroke(0.25, 5), 8, 17)
    assert len(set(captions)) == 5 and captions == make_captions(_stroke(0.25, 5), 8, 17)
    assert captions != make_captions(_stroke(0.25, 5), 8, 18)
    weight = weight_and_lean(_stroke(0.25, 5))[0]
    for caption in captions:
        assert all(words in caption for words in ("eight", weight, "leaning far right"))
        assert "a eight" not in caption
    first_words = {
        captions_lib.split_words(c)[0]
        for number in range(30)
        for c in make_captions(_stroke(0, 5), 1, number)
    }
    assert len(first_words) >= 5 and len(PHRASINGS) == 7, "all phrasings come up"


def test_all_the_words_are_used_and_none_for_most():
    digits = sklearn_digits.open_source("digits")
    words_of_images = [weight_and_lean(digits.read(index)) for index in range(1437)]
    for column, (words, _) in enumerate((WEIGHTS, LEANS)):
        fractions = [np.mean([each[column] == word for each in words_of_images]) for word in words]
        assert min(fractions) > 0.04 and max(fractions) < 0.4


def test_its_images_and_labels_are_those_of_the_digits(source):
    """In the order of scikit-learn's table."""
    whole, digits = source.decode_all(DATA), load_digits()
    rows = [int(source.name(index).removeprefix("train/")) for index in range(1437)]
    assert rows == sorted(rows) and source.num_examples == 1437
    pixels = np.round(digits.images[rows] * 255 / 16).astype(np.uint8)
    np.testing.assert_array_equal(whole.views["canvas"], np.repeat(pixels[..., np.newaxis], 3, -1))
    np.testing.assert_array_equal(whole.labels, digits.target[rows])


def test_the_vocabulary_is_that_of_the_training_split_in_every_split(source):
    test = splits.open_split(DATA, "test")
    captions = [caption for image in test.captions for caption in image]
    for caption in captions[:50]:
        np.testing.assert_array_equal(
            source.vocabulary.encode(caption, 12), test.vocabulary.encode(caption, 12)
        )
    encoded = test.read_captions(DATA)
    assert encoded.words.shape == (1800, 12) and not np.any(encoded.words == 1), "no word is unknown"
    np.testing.assert_array_equal(encoded.example, np.repeat(np.arange(360), 5))
    np.testing.assert_array_equal(encoded.words[7], test.vocabulary.encode(test.captions[1][2], 12))


def _batches(source, first_step=0, num_steps=4, shard=WHOLE, data=DATA):
    sample_range = SampleRange(EpochSampler(3, source.num_examples, 32), first_step, num_steps, shard)
    return [batch for batch in source.train_batches(data, {}, sample_range)]


def test_a_step_has_one_caption_per_image_for_any_first_step_and_shard(source):
    whole = _batches(source)
    drawn = set()
    for batch in whole:
        assert batch.views["b"].shape == (32, 12) and batch.views["b"].dtype == np.int32
        for index, words in zip(batch.index, batch.views["b"], strict=True):
            own = [source.vocabulary.encode(caption, 12).tolist() for caption in source.captions[index]]
            drawn.add(own.index(words.tolist()))
    assert drawn == set(range(5))
    for later, batch in zip(_batches(source, first_step=2), whole[2:], strict=True):
        np.testing.assert_array_equal(later.views["b"], batch.views["b"])
    halves = [_batches(source, shard=ProcessShard(process, 2)) for process in range(2)]
    for step, batch in enumerate(whole):
        together = np.concatenate([half[step].views["b"] for half in halves])
        np.testing.assert_array_equal(together, batch.views["b"])


def test_an_image_that_comes_again_may_have_another_caption(source):
    epochs = source.num_examples // 32
    first, later = (_batches(source, start, start + epochs) for start in (0, epochs))
    seen = [
        {i: w.tolist() for b in run for i, w in zip(b.index.tolist(), b.views["b"], strict=True)}
        for run in (first, later)
    ]
    both = seen[0].keys() & seen[1].keys()
    fraction = np.mean([seen[0][i] != seen[1][i] for i in both])
    assert 0.75 < fraction < 0.85, "four times in five"


def test_without_caption_words_they_are_digits_alone(source):
    (batch,) = _batches(source, num_steps=1, data=dataclasses.replace(DATA, caption_words=0))
    assert set(batch.views) == {"canvas", "shape", "position"}


def test_an_unknown_split_is_refused_with_the_existing_ones():
    with pytest.raises(UserError, match=r"no split 'validation'; it has train, test"):
        splits.open_split(DATA, "validation")


def test_a_part_of_a_split_has_its_images_captions_and_the_vocabulary_of_the_training_split(source):
    data = dataclasses.replace(DATA, train_split="train[:90%]", eval_split="train[90%:]")
    train, test = (splits.open_split(data, split) for split in (data.train_split, data.eval_split))
    assert (train.num_examples, test.num_examples) == (1293, 144)
    assert train.captions + test.captions == source.captions
    assert list(train.identity()) + list(test.identity()) == list(source.identity())
    assert (
        test.vocabulary.encode("a thin one", 3).tolist() == train.vocabulary.encode("a thin one", 3).tolist()
    )
