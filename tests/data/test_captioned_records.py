"""Captions of a TFDS data set, with the features of `coco_captions`."""

import dataclasses
import json

import captioned
import numpy as np
import pytest
import tensorflow_datasets as tfds

from barlow_jax.config.recipe import OPS, View, without
from barlow_jax.config.schema import Data
from barlow_jax.data import captions as captions_lib, catalog, splits, tfds_records
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError

# Ops that are never applied are never built.
VIEWS = {"a": without(View(), (op for op in OPS if op not in ("crop", "normalize")))}
WHOLE = ProcessShard()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    captioned.TinyCaptions(data_dir=str(folder)).download_and_prepare(file_format="array_record")
    return Data(
        name="tiny_captions",
        data_dir=str(folder),
        train_split="train+restval",
        eval_split="test",
        image_size=8,
        eval_resize=8,
        canvas=16,
        caption_words=6,
        caption_min_count=2,
    )


@pytest.fixture(scope="module")
def vocabulary():
    """Return the vocabulary of the captions that the builder received."""
    texts = [
        text for split in ("train", "restval") for _, texts in captioned.examples(split) for text in texts
    ]
    return captions_lib.Vocabulary(captions_lib.count_words(texts), 2)


def _own(split):
    """Captions by the bytes of the image."""
    return {image.tobytes(): texts for part in split.split("+") for image, texts in captioned.examples(part)}


def _images(source, data):
    """The whole images, in the order of the split."""
    whole = source.decode_all(data)
    pairs = zip(whole.views["canvas"], whole.views["shape"].tolist(), strict=True)
    return [canvas[:height, :width].tobytes() for canvas, (height, width) in pairs]


def _batches(source, data, augment_on="host", first_step=0, shard=WHOLE):
    data = dataclasses.replace(data, augment_on=augment_on)
    return list(
        source.train_batches(
            data, VIEWS, SampleRange(EpochSampler(3, source.num_examples, 16), first_step, 4, shard)
        )
    )


def test_tfds_s_coco_has_the_features_that_are_looked_for():
    """Its own description, without its images."""
    described, tiny = (
        tfds.builder(name, data_dir="/nonexistent").info.features
        for name in ("coco_captions", "tiny_captions")
    )
    assert set(described) == set(tiny) and described.dtype == tiny.dtype
    for name in ("coco_captions", "tiny_captions"):
        assert tfds_records._has_captions(tfds.builder(name, data_dir="/nonexistent"))
    assert not tfds_records._has_captions(tfds.builder("cifar10", data_dir="/nonexistent"))


def test_evaluation_has_all_captions_of_each_image(data, vocabulary):
    source, own = splits.open_split(data, "test"), _own("test")
    encoded, images = source.read_captions(data), _images(source, data)
    assert source.num_classes is None and source.num_examples == len(own) == 24
    np.testing.assert_array_equal(
        encoded.example, np.repeat(np.arange(24), [len(own[image]) for image in images])
    )
    expected = [vocabulary.encode(text, 6) for image in images for text in own[image]]
    np.testing.assert_array_equal(encoded.words, expected)


@pytest.mark.parametrize("augment_on", ["host", "device"])
def test_a_step_has_one_caption_per_image_for_any_first_step_and_shard(data, vocabulary, augment_on):
    source, own = splits.open_split(data, data.train_split), _own(data.train_split)
    images, whole, drawn = _images(source, data), _batches(source, data, augment_on), set()
    for batch in whole:
        assert set(batch.views) == (
            {"a", "b"} if augment_on == "host" else {"canvas", "shape", "position", "b"}
        )
        for index, words in zip(batch.index, batch.views["b"], strict=True):
            candidates = [vocabulary.encode(text, 6).tolist() for text in own[images[index]]]
            drawn.add(candidates.index(words.tolist()))
    assert drawn >= {0, 1, 2, 3} and whole[0].views["b"].dtype == np.int32
    np.testing.assert_array_equal(
        _batches(source, data, augment_on, first_step=2)[0].views["b"], whole[2].views["b"]
    )
    halves = [_batches(source, data, augment_on, shard=ProcessShard(process, 2)) for process in range(2)]
    together = np.concatenate([half[1].views["b"] for half in halves])
    np.testing.assert_array_equal(together, whole[1].views["b"])


def test_captions_change_nothing_of_the_images(data):
    source = splits.open_split(data, data.train_split)
    for augment_on in ("host", "device"):
        with_them = _batches(source, data, augment_on)
        without = _batches(source, dataclasses.replace(data, caption_words=0), augment_on)
        for captioned_batch, plain in zip(with_them, without, strict=True):
            assert "b" not in plain.views
            for name, rows in plain.views.items():
                np.testing.assert_array_equal(captioned_batch.views[name], rows)


def test_words_are_counted_once_and_cached_with_the_data(data, vocabulary, monkeypatch):
    splits.open_split(data, "test").read_captions(data)
    (kept,) = catalog.tfds_builder(data).data_path.glob("word_counts*")
    assert kept.name == "word_counts-train_restval.json"
    with monkeypatch.context() as patch:
        patch.setattr(RecordSplit, "captions", lambda split: pytest.fail("the training split is read again"))
        (batch,) = _batches(splits.open_split(data, data.train_split), data)[:1]
    assert batch.views["b"].max() < len(vocabulary)
    # Of another split, or of other rules for words, they are no use.
    whole = json.loads(kept.read_text())
    kept.write_text(json.dumps(whole | {"split": "train_restval", "counts": {}}))
    again = splits.open_split(data, "test").read_captions(data)
    assert again.words.max() > 1 and json.loads(kept.read_text()) == whole


def test_captions_of_a_data_set_without_captions_are_an_error(tmp_path):
    np.savez(tmp_path / "test.npz", images=np.zeros((2, 8, 8), np.uint8))
    arrays = Data(name="images", data_dir=str(tmp_path), caption_words=4, eval_split="test")
    digits = Data(name="digits", train_split="test", caption_words=4)
    for data in (arrays, digits):
        with pytest.raises(UserError, match=f"{data.name} has no captions; set it to 0"):
            splits.open_split(data, "test").read_captions(data)
