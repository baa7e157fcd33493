import dataclasses
import io
import pathlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from barlow_jax.config.recipe import Blur, Jitter, View
from barlow_jax.config.schema import Data
from barlow_jax.data import pipeline, record_split, sources
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

VIEWS = {"a": View(jitter=Jitter(0.0), blur=Blur(0.0))}


@pytest.fixture
def data(tmp_path):
    """70 images of many shapes; two of the files cannot be decoded."""
    rng = np.random.default_rng(0)
    for number in range(70):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*rng.integers(4, 17, 2), 3), dtype=np.uint8)).save(path)
        if number in (11, 64):
            path.write_bytes(path.read_bytes()[: number - 11])
    return Data(name="folder", data_dir=str(tmp_path), image_size=4, eval_resize=4, canvas=16)


def test_decoded_is_every_image_in_the_corner_of_its_canvas(data, capfd):
    split = record_split.RecordSplit(sources.open_split(data, "train"))
    whole = split.decode_all(data)
    assert whole.views["canvas"].shape == (70, 16, 16, 3) and whole.views["canvas"].dtype == np.uint8
    for index, (canvas, shape, label) in enumerate(zip(*whole.views.values(), whole.labels, strict=True)):
        path = pathlib.Path(split.decode_failures.name(index))
        if path.name in ("11.png", "64.png"):
            assert whole.index[index] == -1 and not canvas.any()
            continue
        image = np.asarray(Image.open(path))
        np.testing.assert_array_equal(canvas[: len(image), : image.shape[1]], image)
        assert canvas.sum() == image.sum() and shape.tolist() == list(image.shape[:2])
        assert whole.index[index] == index and "ab"[label] == path.parent.name
    assert len(split.decode_failures) == 2 and capfd.readouterr().err.count("decode failure") == 2


def test_an_image_larger_than_the_canvas_is_named_with_the_remedy(data):
    split = record_split.RecordSplit(sources.open_split(data, "train"))
    with pytest.raises(
        UserError, match=r"\.png has \d+ x \d+ pixels, which do not fit .* set config.data.canvas to 1"
    ):
        split.decode_all(dataclasses.replace(data, canvas=10))


def test_too_many_decode_failures_stop_the_decoding(data):
    split = record_split.RecordSplit(sources.open_split(data, "train"))
    with pytest.raises(UserError, match=r"config.data.max_decode_failures: .* 1 are allowed"):
        split.decode_all(dataclasses.replace(data, max_decode_failures=1))


def _epochs(source, data):
    sampler = EpochSampler(0, source.num_examples, 35)
    for first in (0, 2):
        yield list(pipeline.train_batches(source, data, VIEWS, SampleRange(sampler, first, first + 2)))


def _assert_same(batches, others):
    for pair in zip(batches, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, *pair)


def test_a_cached_folder_is_read_once_and_gives_the_same_batches(data, monkeypatch):
    expected = list(_epochs(sources.open_split(data, "train"), data))
    read, files = tf.io.read_file, []

    def counted(path):
        files.append(path)
        return read(path)

    monkeypatch.setattr(tf.io, "read_file", counted)
    source = sources.open_split(dataclasses.replace(data, cache="encoded"), "train")
    # The second epoch begins after the first: at the same time, both might read an image.
    for epoch, batches in enumerate(_epochs(source, data)):
        _assert_same(batches, expected[epoch])
        assert len(files) == len(set(files)) == 70


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_cached_records_are_read_once_and_give_the_same_batches(tmp_path, file_format, monkeypatch):
    from barlow_jax.data.tfds_digits import Digits

    Digits(data_dir=str(tmp_path)).download_and_prepare(file_format=file_format)
    data = Data(name="digits", data_dir=str(tmp_path), train_split="test", image_size=8, eval_resize=8)
    asked, keeping = [], sources._cached

    def counted(read):
        return keeping(lambda indices: asked.extend(indices) or read(indices))

    monkeypatch.setattr(sources, "_cached", counted)
    plain, kept = (sources.open_split(d, "test") for d in (data, dataclasses.replace(data, cache="encoded")))
    sampler = EpochSampler(0, 360, 60)
    for first in (0, 6):
        sample_range = SampleRange(sampler, first, first + 6)
        _assert_same(*(pipeline.train_batches(s, data, VIEWS, sample_range) for s in (kept, plain)))
        assert sorted(asked) == list(range(360))


def test_an_unreadable_file_is_an_error_with_a_cache_too(data):
    (path,) = pathlib.Path(data.data_dir).rglob("05.png")
    source = sources.open_split(dataclasses.replace(data, cache="encoded"), "train")
    path.unlink()
    with pytest.raises(OSError, match=r"05.png cannot be read"):
        list(pipeline.eval_batches(source, data, batch_size=35, shard=ProcessShard()))


def test_bytes_that_end_in_zeros_are_cached_whole(data):
    (path,) = pathlib.Path(data.data_dir).rglob("05.png")
    path.write_bytes(path.read_bytes() + bytes(3))
    source = sources.open_split(dataclasses.replace(data, cache="encoded"), "train")
    index = next(i for i in range(70) if source.decode_failures.name(i) == str(path))
    encoded = (
        tf.data.Dataset.from_tensors(np.int64(index)).map(lambda i: source.parse(i)[0]).get_single_element()
    )
    assert encoded.numpy() == path.read_bytes()
    Image.open(io.BytesIO(encoded.numpy())).load()
