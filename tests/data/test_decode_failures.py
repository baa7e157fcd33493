"""Records with images that cannot be decoded, against the same records with intact images."""

import dataclasses
import io

import numpy as np
from PIL import Image
import pytest
import recorded
import tensorflow as tf

from barlow_jax.config.recipe import Blur, Jitter, View
from barlow_jax.data.decode_failures import MAX_NAMED, DecodeFailures
from barlow_jax.data.image_formats import failure_reason
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

VIEWS = {name: View(jitter=Jitter(0.0), blur=Blur(0.0)) for name in "ab"}
STEPS = 10  # two epochs of 40 images
WHOLE = ProcessShard()
LABELS = np.arange(40) // 20


def _jpeg(number):
    image = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(image).save(buffer := io.BytesIO(), "JPEG", quality=90)
    return buffer.getvalue()


IMAGES = [_jpeg(number) for number in range(40)]
DAMAGED = {3: b"", 9: IMAGES[9][: len(IMAGES[9]) // 2], 25: b"some text", 30: b"II*\0"}


@pytest.fixture(scope="module")
def decode_failures():
    return np.array([*DAMAGED])


@pytest.fixture(scope="module")
def labels():
    return LABELS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two data sets of 40 images, intact and with four of them replaced."""
    damaged = [DAMAGED.get(number, image) for number, image in enumerate(IMAGES)]
    return [
        recorded.write(tmp_path_factory.mktemp("tfds"), images, LABELS.tolist(), image_size=8, eval_resize=8)
        for images in (IMAGES, damaged)
    ]


def _train(data, first_step=0, shard=WHOLE, examples=None, batch_size=8):
    source = RecordSplit(data, "train")
    sampler = EpochSampler(0, 40 if examples is None else len(examples), batch_size)
    sample_range = SampleRange(sampler, first_step, STEPS, shard, examples)
    return list(source.train_batches(data, VIEWS, sample_range)), source


@pytest.fixture(scope="module")
def after(data):
    """The batches of the data set with damaged images, and its split."""
    return _train(data[1])


def _assert_same(actual, expected):
    np.testing.assert_array_equal(actual.index, expected.index)
    np.testing.assert_array_equal(actual.labels, expected.labels)
    for name in "ab":
        np.testing.assert_array_equal(actual.views[name], expected.views[name])


def test_another_image_replaces_an_undecodable_one_and_no_other_row_changes(
    data, after, decode_failures, labels
):
    (before, _), (after, source) = _train(data[0]), after
    assert len(before) == len(after) == STEPS
    replaced = 0
    for expected, actual in zip(before, after, strict=True):
        failed = np.isin(expected.index, decode_failures)
        replaced += failed.sum()
        assert not np.isin(actual.index, decode_failures).any()
        np.testing.assert_array_equal(actual.labels, labels[actual.index])
        keep = [
            batch._replace(
                views={n: batch.views[n][~failed] for n in "ab"},
                labels=batch.labels[~failed],
                index=batch.index[~failed],
            )
            for batch in (expected, actual)
        ]
        _assert_same(*keep)
        for row in np.flatnonzero(failed):
            assert np.ptp(actual.views["a"][row].astype(int)) > 0
            assert np.any(actual.views["a"][row] != actual.views["b"][row])
    assert replaced == 8 and len(source.decode_failures) == 4, "each of four images twice"


def test_the_replacement_is_sampled_from_seed_and_position(after, decode_failures):
    """The expected index comes from NumPy's generator, as documented."""
    sampler = EpochSampler(0, 40, 8)
    for step, batch in enumerate(after[0]):
        index, position = sampler.batch(step)
        for row in np.flatnonzero(np.isin(index, decode_failures)):
            draws = np.random.default_rng((0, position[row])).integers(40, size=100)
            assert batch.index[row] == next(draw for draw in draws if draw not in decode_failures)


def test_a_start_in_the_middle_gives_the_same_bits(data, after):
    for expected, actual in zip(_train(data[1], first_step=3)[0], after[0][3:], strict=True):
        _assert_same(actual, expected)


def test_two_processes_give_together_the_same_batches(data, after):
    parts = [_train(data[1], shard=ProcessShard(process, 2)) for process in range(2)]
    for batch, *halves in zip(after[0], *(batches for batches, _ in parts), strict=True):
        for number, half in enumerate(halves):
            rows = slice(4 * number, 4 * number + 4)
            _assert_same(
                half,
                batch._replace(
                    views={n: batch.views[n][rows] for n in "ab"},
                    labels=batch.labels[rows],
                    index=batch.index[rows],
                ),
            )
    assert {len(source.decode_failures) for _, source in parts} <= {1, 2, 3, 4}


def test_images_of_a_subset_are_replaced_from_the_subset(data, decode_failures):
    chosen = np.union1d(decode_failures, np.setdiff1d(np.arange(40), decode_failures)[:5])
    batches, _ = _train(data[1], examples=chosen, batch_size=4)
    assert set(np.concatenate([batch.index for batch in batches])) == set(chosen) - set(decode_failures)


def test_a_batch_of_undecodable_images_is_replaced_as_a_whole(data, decode_failures):
    examples = np.append(decode_failures, np.setdiff1d(np.arange(40), decode_failures)[:3])
    batches, _ = _train(data[1], examples=examples, batch_size=1)
    assert len(batches) == STEPS and {int(batch.index[0]) for batch in batches} <= set(examples[3:])


def test_without_a_readable_replacement_the_run_stops(data, decode_failures):
    with pytest.raises(UserError, match="none of 100 images sampled from the split can be decoded"):
        _train(data[1], examples=decode_failures, batch_size=1)


def test_the_count_is_of_images_and_of_the_steps_that_were_done(data, decode_failures):
    _, source = _train(data[1])
    first = [
        next(s for s in range(STEPS) if image in EpochSampler(0, 40, 8).batch(s)[0])
        for image in decode_failures
    ]
    for step in range(STEPS + 1):
        assert source.decode_failures.count_before(step) == sum(f < step for f in first)


def test_an_evaluation_treats_an_undecodable_image_as_padding(data, decode_failures):
    (whole, _), (batches, source) = (_evaluate(d) for d in data)
    for expected, actual in zip(whole, batches, strict=True):
        failed = np.isin(expected.index, decode_failures)
        np.testing.assert_array_equal(actual.index, np.where(failed, -1, expected.index))
        np.testing.assert_array_equal(actual.views["eval"][~failed], expected.views["eval"][~failed])
        np.testing.assert_array_equal(actual.labels[~failed], expected.labels[~failed])
        assert not actual.views["eval"][failed].any()
    assert len(source.decode_failures) == 4


def test_an_undecodable_image_that_pads_is_not_counted(data, decode_failures):
    intact = int(np.setdiff1d(np.arange(40), decode_failures)[0])
    batches, source = _evaluate(data[1], examples=np.array([decode_failures[0], intact]))
    assert batches[0].index.tolist() == [-1, intact] + [-1] * 14 and len(source.decode_failures) == 1


def _evaluate(data, examples=None):
    source = RecordSplit(data, "train")
    return list(source.eval_batches(data, batch_size=16, shard=ProcessShard(), examples=examples)), source


def test_the_log_names_the_image_and_the_reason(data, capfd):
    _train(data[1])
    log = capfd.readouterr().err
    for number, words in (
        (3, "is empty"),
        (9, "is a truncated or damaged JPEG"),
        (25, "is not an image: it begins with b'some text'"),
        (30, "is a TIFF file, which is not supported"),
    ):
        assert log.count(f"example {number} of recorded's split 'train' {words}") == 1


def test_more_than_the_limit_is_an_error_with_the_files_and_the_remedy(data):
    _train(dataclasses.replace(data[1], max_decode_failures=4))
    with pytest.raises(
        UserError, match=r"config.data.max_decode_failures: .* 1 are allowed; repair or remove"
    ) as error:
        _train(dataclasses.replace(data[1], max_decode_failures=1))
    assert str(error.value).count("of recorded's split") == 2


def test_a_record_that_cannot_be_read_is_not_a_decode_failure(data):
    """The cause is the disk: the run stops, because with other images it would not be reproducible."""

    def fetch(index):
        raise tf.errors.DataLossError(None, None, "the disk is gone")

    failing = RecordSplit(data[0], "train")
    failing.fetch = fetch
    with pytest.raises(OSError, match=r"example 5 .* cannot be read"):
        failing._read_decodable(5)


def test_the_log_stops_naming_after_a_few(capsys):
    decode_failures = DecodeFailures(lambda index: f"file {index}")
    for index in range(3 * MAX_NAMED):
        decode_failures.add(index % (2 * MAX_NAMED), "is empty", step=index, limit=None)
    log = capsys.readouterr().err
    assert log.count("is empty") == MAX_NAMED and "not named here" in log
    assert len(decode_failures) == decode_failures.count_before(3 * MAX_NAMED) == 2 * MAX_NAMED


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\nrest", "is a truncated or damaged PNG"),
        (b"II*\0rest", "is a TIFF file, which is not supported"),
        (b"<html>", "is not an image: it begins with b'<html>'"),
    ],
)
def test_the_reason_follows_from_the_first_bytes(encoded, words):
    assert failure_reason(encoded, pillow_only=True) == words
