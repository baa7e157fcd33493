import dataclasses

import numpy as np
import pytest
import recorded  # noqa: F401  registers the data set
import tensorflow as tf

from barlow_jax.config.recipe import Blur, Jitter, Solarize, View
from barlow_jax.config.schema import Data
from barlow_jax.data import decoding
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

# Two of the papers' ops fewer, because TensorFlow takes seconds to trace them.
VIEWS = {name: View(jitter=Jitter(0.0), blur=Blur(0.0), solarize=Solarize(0.2)) for name in "ab"}
WHOLE = ProcessShard()
DATA = Data(name="recorded_digits", image_size=8, eval_resize=8)


@pytest.fixture(scope="module")
def source():
    return RecordSplit(DATA, "test")


def _train(source, first_step=0, num_steps=3, shard=WHOLE, seed=0, data=DATA, views=VIEWS, examples=None):
    sampler = EpochSampler(seed, source.num_examples if examples is None else len(examples), 24)
    sample_range = SampleRange(sampler, first_step, num_steps, shard, examples)
    return list(source.train_batches(data, views, sample_range))


def _assert_same(actual, expected):
    np.testing.assert_array_equal(actual.index, expected.index)
    np.testing.assert_array_equal(actual.labels, expected.labels)
    for name in "ab":
        np.testing.assert_array_equal(actual.views[name], expected.views[name])


def test_a_batch_holds_two_views_of_the_images_of_its_index(source):
    (batch, *_) = _train(source)
    assert batch.views["a"].shape == batch.views["b"].shape == (24, 8, 8, 3)
    assert batch.views["a"].dtype == np.uint8
    np.testing.assert_array_equal(batch.index, EpochSampler(0, 360, 24).batch(0)[0])
    assert np.any(batch.views["a"] != batch.views["b"])


def test_the_same_seed_and_step_give_the_same_batch_from_any_start_by_any_number_of_threads(source):
    batches = _train(source, num_steps=4)
    for step in (0, 2, 3):
        data = dataclasses.replace(DATA, threads=step + 1, prefetch=step + 1)
        _assert_same(_train(source, first_step=step, num_steps=step + 1, data=data)[0], batches[step])


def test_an_image_is_augmented_afresh_each_time(source):
    first, again = _train(source, num_steps=1), _train(source, first_step=15, num_steps=30)
    twins = [(b, row) for b in again for row in np.flatnonzero(b.index == first[0].index[0])]
    assert len(twins) == 1
    assert np.any(twins[0][0].views["a"][twins[0][1]] != first[0].views["a"][0])


def test_another_seed_gives_other_images(source):
    assert np.any(_train(source, seed=1)[0].index != _train(source)[0].index)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_global_batch_does_not_depend_on_the_number_of_processes(source, processes):
    whole = _train(source)
    parts = [_train(source, shard=ProcessShard(p, processes)) for p in range(processes)]
    for step, batch in enumerate(whole):
        rows = [part[step] for part in parts]
        together = type(batch)(
            {name: np.concatenate([row.views[name] for row in rows]) for name in "ab"},
            *(np.concatenate([getattr(row, key) for row in rows]) for key in ("labels", "index")),
        )
        _assert_same(together, batch)


def test_a_subset_of_the_examples_is_all_that_is_seen(source):
    chosen = np.arange(100, 150)
    batches = _train(source, examples=chosen, num_steps=2)
    assert set(np.concatenate([b.index for b in batches])) <= set(chosen)


def test_evaluation_sees_every_example_once_and_marks_the_padding(source):
    batches = list(source.eval_batches(DATA, batch_size=100, shard=ProcessShard()))
    index = np.concatenate([batch.index for batch in batches])
    assert len(index) == 400
    np.testing.assert_array_equal(index[index >= 0], np.arange(360))
    assert set(batches[0].views) == {"eval"}


def test_evaluation_of_some_examples_keeps_their_order(source):
    chosen = np.array([5, 300, 2])
    batches = source.eval_batches(DATA, batch_size=2, shard=ProcessShard(), examples=chosen)
    assert np.concatenate([batch.index for batch in batches]).tolist() == [5, 300, 2, -1]


def test_a_batch_that_does_not_divide_over_the_processes_is_an_error(source):
    with pytest.raises(ValueError, match="does not divide over 5 processes"):
        _train(source, shard=ProcessShard(0, 5))


def test_the_device_is_given_the_decoded_images(source):
    data = dataclasses.replace(DATA, augment_on="device", canvas=24)
    (batch,) = _train(source, num_steps=1, data=data)
    assert set(batch.views) == {CANVAS, SHAPE, POSITION} and np.all(batch.views[SHAPE] == 8)
    assert batch.views[POSITION].tolist() == list(range(24)) and batch.views[POSITION].dtype == np.uint32
    records = source.fetch(tf.constant(batch.index, tf.int64))
    for row, record in enumerate(records):
        image = decoding.decode(source.parse(record)[0])
        np.testing.assert_array_equal(batch.views[CANVAS][row, :8, :8], image)
    assert not np.any(batch.views[CANVAS][:, 8:]) and not np.any(batch.views[CANVAS][:, :, 8:])


def test_an_image_that_no_canvas_holds_names_the_remedy(source):
    data = dataclasses.replace(DATA, augment_on="device", canvas=6)
    with pytest.raises(UserError, match=r"larger than config\.data\.canvas=6.*set a larger one"):
        _train(source, num_steps=1, data=data)
