import dataclasses
import io

import numpy as np
from PIL import Image
import pytest
import recorded
import tensorflow as tf

from barlow_jax.config.recipe import Blur, Jitter, View
from barlow_jax.config.schema import Data
from barlow_jax.data import tfds_records
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.errors import UserError

VIEWS = {"a": View(jitter=Jitter(0.0), blur=Blur(0.0))}


LABELS = np.arange(70) % 2
DAMAGED = (11, 64)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*rng.integers(4, 17, 2), 3), dtype=np.uint8) for _ in range(70)]


@pytest.fixture(scope="module")
def data(images, tmp_path_factory):
    """70 images of many shapes; two of them cannot be decoded."""
    encoded = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
        encoded.append(buffer.getvalue()[: number - 11 if number in DAMAGED else None])
    settings = {"image_size": 4, "eval_resize": 4, "canvas": 16}
    return recorded.write(tmp_path_factory.mktemp("tfds"), encoded, LABELS.tolist(), **settings)


def test_decoded_is_every_image_in_the_corner_of_its_canvas(data, images, capfd):
    split = RecordSplit(data, "train")
    whole = split.decode_all(data)
    assert whole.views["canvas"].shape == (70, 16, 16, 3) and whole.views["canvas"].dtype == np.uint8
    np.testing.assert_array_equal(whole.index, np.where(np.isin(np.arange(70), DAMAGED), -1, np.arange(70)))
    for index, (canvas, shape, label) in enumerate(zip(*whole.views.values(), whole.labels, strict=True)):
        if index in DAMAGED:
            assert not canvas.any()
            continue
        image = images[index]
        np.testing.assert_array_equal(canvas[: len(image), : image.shape[1]], image)
        assert canvas.sum() == image.sum() and shape.tolist() == list(image.shape[:2])
        assert label == LABELS[index]
    assert len(split.decode_failures) == 2 and capfd.readouterr().err.count("decode failure") == 2


def test_an_image_larger_than_the_canvas_is_named_with_the_remedy(data):
    split = RecordSplit(data, "train")
    with pytest.raises(
        UserError, match=r"'train' has \d+ x \d+ pixels, which do not fit .* set config.data.canvas to 1"
    ):
        split.decode_all(dataclasses.replace(data, canvas=10))


def test_too_many_decode_failures_stop_the_decoding(data):
    split = RecordSplit(data, "train")
    with pytest.raises(UserError, match=r"config.data.max_decode_failures: .* 1 are allowed"):
        split.decode_all(dataclasses.replace(data, max_decode_failures=1))


def _assert_same(batches, others):
    for pair in zip(batches, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, *pair)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_cached_records_are_read_once_and_give_the_same_batches(tmp_path, file_format, monkeypatch):
    recorded.RecordedDigits(data_dir=str(tmp_path)).download_and_prepare(file_format=file_format)
    data = Data(
        name="recorded_digits", data_dir=str(tmp_path), train_split="test", image_size=8, eval_resize=8
    )
    asked, keeping = [], tfds_records._cached

    def counted(read):
        return keeping(lambda indices: asked.extend(indices) or read(indices))

    monkeypatch.setattr(tfds_records, "_cached", counted)
    plain, kept = (RecordSplit(d, "test") for d in (data, dataclasses.replace(data, cache="encoded")))
    sampler = EpochSampler(0, 360, 60)
    for first in (0, 6):
        sample_range = SampleRange(sampler, first, first + 6)
        _assert_same(*(s.train_batches(data, VIEWS, sample_range) for s in (kept, plain)))
        assert sorted(asked) == list(range(360))
