"""Arrays against the same digits read by TensorFlow."""

import dataclasses

import numpy as np
from PIL import Image
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

DIGITS = Data(name="digits", eval_split="test", image_size=8, eval_resize=8, canvas=8)
WHOLE = ProcessShard()


@pytest.fixture(scope="module")
def recorded():
    return splits.open_split(DIGITS, "test")


@pytest.fixture(scope="module")
def data(recorded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    whole = recorded.decode_all(DIGITS)
    np.savez(folder / "test.npz", images=whole.views["canvas"][..., 0], labels=whole.labels)
    return dataclasses.replace(DIGITS, name="arrays", data_dir=str(folder), augment_on="device")


@pytest.fixture(scope="module")
def source(data):
    return splits.open_split(data, "test")


def _train(source, data, shard=WHOLE, examples=None, first_step=0, num_steps=3):
    sampler = EpochSampler(1, source.num_examples if examples is None else len(examples), 24)
    sample_range = SampleRange(sampler, first_step, num_steps, shard, examples)
    return list(source.train_batches(data, {}, sample_range))


def _assert_same(actual, expected):
    assert set(actual.views) == set(expected.views)
    for name in actual.views:
        np.testing.assert_array_equal(actual.views[name], expected.views[name])
        assert actual.views[name].dtype == expected.views[name].dtype
    np.testing.assert_array_equal(actual.labels, expected.labels)
    np.testing.assert_array_equal(actual.index, expected.index)
    assert actual.labels.dtype == expected.labels.dtype and actual.index.dtype == expected.index.dtype


def test_attributes_are_those_of_the_recorded_split(source, recorded):
    for name in ("num_examples", "num_classes", "multi_label"):
        assert getattr(source, name) == getattr(recorded, name)
    np.testing.assert_array_equal(source.read_labels(), recorded.read_labels())
    assert len(source.decode_failures) == 0


def test_decoded_images_are_the_same_on_any_canvas(source, recorded, data):
    for canvas in (8, 13):
        sized = dataclasses.replace(data, canvas=canvas)
        _assert_same(source.decode_all(sized), recorded.decode_all(sized))


@pytest.mark.parametrize("examples", [None, np.array([5, 300, 2, 7])])
def test_evaluation_gives_the_same_batches(source, recorded, data, examples):
    for shard in (ProcessShard(), ProcessShard(1, 2)):
        batches = (
            split.eval_batches(data, batch_size=100, shard=shard, examples=examples)
            for split in (source, recorded)
        )
        for pair in zip(*batches, strict=True):
            _assert_same(*pair)


def test_a_training_batch_has_the_samplers_images_in_the_corner(source, data):
    sized = dataclasses.replace(data, canvas=11)
    whole = source.decode_all(data)
    for step, batch in enumerate(_train(source, sized)):
        index, position = EpochSampler(1, 360, 24).batch(step)
        np.testing.assert_array_equal(batch.index, index)
        np.testing.assert_array_equal(batch.labels, whole.labels[index])
        np.testing.assert_array_equal(batch.views["canvas"][:, :8, :8], whole.views["canvas"][index])
        assert not batch.views["canvas"][:, 8:].any() and not batch.views["canvas"][:, :, 8:].any()
        assert batch.views["shape"].tolist() == [[8, 8]] * 24
        np.testing.assert_array_equal(batch.views["position"], position)


def test_shards_first_step_and_examples_select_rows_of_the_same_batches(source, data):
    whole = _train(source, data)
    _assert_same(_train(source, data, first_step=2)[0], whole[2])
    halves = [_train(source, data, shard=ProcessShard(process, 2)) for process in range(2)]
    for step, batch in enumerate(whole):
        together = np.concatenate([half[step].views["canvas"] for half in halves])
        np.testing.assert_array_equal(together, batch.views["canvas"])
    chosen = np.arange(100, 130)
    assert set(np.concatenate([b.index for b in _train(source, data, examples=chosen)])) <= set(chosen)


def test_the_host_does_not_augment_them(source, data):
    with pytest.raises(UserError, match=r"config\.data\.augment_on is host.*config\.data\.augment_on=device"):
        _train(source, dataclasses.replace(data, augment_on="host"))


@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20)])
def test_the_evaluation_crop_is_pillows(tmp_path, height, width):
    """Bit for bit: bilinear to 12 pixels of the shorter side, then the central 10.

    (Pillow 13 resizes the height first in images much taller than wide, and then rounds differently.)
    """
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    np.savez(tmp_path / "test.npz", images=pixels)
    data = Data(name="arrays", data_dir=str(tmp_path), image_size=10, eval_resize=12, canvas=40)
    (batch,) = splits.open_split(data, "test").eval_batches(data, batch_size=3, shard=ProcessShard())
    shape = np.array([height, width]) * 12 // min(height, width)
    top, left = (round((length - 10) / 2) for length in shape.tolist())
    for image, crop in zip(pixels, batch.views["eval"], strict=True):
        resized = Image.fromarray(image).resize(shape[::-1].tolist(), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(crop, np.asarray(resized)[top : top + 10, left : left + 10])
