import io

import multi_label
import numpy as np
from PIL import Image
import pytest
from recorded import RecordedDigits
import tensorflow as tf
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import tfds_records
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.errors import UserError


def _examples(source, index):
    records = source.fetch(tf.constant(index, tf.int64))
    parsed = [source.parse(record) for record in records]
    return [(np.asarray(Image.open(io.BytesIO(image.numpy()))), int(label)) for image, label in parsed]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_records_are_read_by_index_in_either_format(tmp_path, file_format):
    builder = RecordedDigits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format=file_format)
    source = RecordSplit(Data(name="recorded_digits", data_dir=str(tmp_path)), "train")
    index = [0, 1436, 7, 7]
    reader = builder.as_dataset if file_format == "tfrecord" else builder.as_data_source
    expected = [{name: np.asarray(value) for name, value in e.items()} for e in reader(split="train")]
    assert source.num_examples == len(expected) and source.num_classes == 10
    for (image, label), i in zip(_examples(source, index), index, strict=True):
        np.testing.assert_array_equal(image, expected[i]["image"][..., 0])
        assert label == expected[i]["label"]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_part_of_a_split_is_that_part(tmp_path, file_format):
    builder = RecordedDigits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format=file_format)
    whole, part = (
        RecordSplit(Data(name="recorded_digits", data_dir=str(tmp_path)), split)
        for split in ("train", "train[100:150]")
    )
    assert part.num_examples == 50
    np.testing.assert_array_equal(_examples(part, [3])[0][0], _examples(whole, [103])[0][0])
    shard = b"recorded_digits/1.0.0 recorded_digits-train.-00000-of-00001"  # whatever the file format
    assert list(whole.identity()) == [b"%s %d" % (shard, number) for number in range(1437)]
    assert list(part.identity()) == [b"%s %d" % (shard, number) for number in range(100, 150)]


def test_digits_are_prepared_on_first_use(tmp_path):
    source = RecordSplit(Data(name="recorded_digits", data_dir=str(tmp_path)), "test")
    assert source.num_examples == 360


def test_a_file_format_that_cannot_be_read_by_index_names_what_prepares_another(tmp_path):
    builder = RecordedDigits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format="parquet")
    with pytest.raises(UserError, match="launch/prepare_data"):
        RecordSplit(Data(name="recorded_digits", data_dir=str(tmp_path)), "train")


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("split", ["validation", "train+validation"])
def test_a_multi_label_is_a_vector_of_all_classes(tmp_path, file_format, split):
    multi_label.MultiDigits(data_dir=str(tmp_path)).download_and_prepare(file_format=file_format)
    source = RecordSplit(Data(name="multi_digits", data_dir=str(tmp_path)), split)
    labels_by_image = {
        image.tobytes(): multi_label.multi_hot(objects)
        for part in split.split("+")
        for image, objects in multi_label.examples(part)
    }
    assert source.num_examples == len(labels_by_image) and source.num_classes == 5
    parsed = [source.parse(record) for record in source.fetch(tf.range(len(labels_by_image), dtype=tf.int64))]
    labels = np.stack([label for _, label in parsed])
    assert labels.dtype == np.int32 and set(np.unique(labels)) == {-1, 0, 1}
    for encoded, label in parsed:
        image = np.asarray(Image.open(io.BytesIO(encoded.numpy())))
        np.testing.assert_array_equal(label, labels_by_image.pop(image.tobytes()))


def test_batches_carry_all_labels_of_an_image(tmp_path):
    """Opening the split prepares the data set."""
    data = Data(name="multi_digits", data_dir=str(tmp_path), image_size=24, eval_resize=24)
    source = RecordSplit(data, "test")
    batches = list(source.eval_batches(data, batch_size=32, shard=ProcessShard()))
    labels_by_image = {
        image.tobytes(): multi_label.multi_hot(objects) for image, objects in multi_label.examples("test")
    }
    assert [batch.labels.shape for batch in batches] == [(32, 5)] * 3
    for image, label in zip(batches[0].views["eval"], batches[0].labels, strict=True):
        np.testing.assert_array_equal(label, labels_by_image[image.tobytes()])


class _Builder:
    """Builder with the attributes that `_labels` reads."""

    name = "described"

    def __init__(self, supervised_keys=None, **features):
        self.info = type("Info", (), {"features": features, "supervised_keys": supervised_keys})


def test_a_single_class_is_preferred_to_multiple_labels():
    multiple = tfds.features.Sequence(tfds.features.ClassLabel(num_classes=7))
    single = tfds.features.ClassLabel(num_classes=3)
    class_names, multi_label, read = tfds_records._labels(_Builder(labels=multiple, label=single))
    assert len(class_names) == 3 and not multi_label and read({"label": 2, "labels": [0]}) == 2


def test_without_a_list_of_plain_objects_all_that_is_shown_counts():
    multiple = tfds.features.Sequence(tfds.features.ClassLabel(num_classes=4))
    class_names, multi_label, read = tfds_records._labels(
        _Builder(tags=multiple, objects=tfds.features.Sequence({"label": multiple}))
    )
    assert len(class_names) == 4 and multi_label
    for tags, expected in (([3, 1, 3], [0, 1, 0, 1]), ([], [0, 0, 0, 0])):
        np.testing.assert_array_equal(read({"tags": tf.constant(tags, tf.int64)}), expected)


def test_objects_with_a_class_each_are_no_labels_of_the_image():
    boxes = tfds.features.Sequence({"label": tfds.features.ClassLabel(num_classes=4)})
    class_names, multi_label, read = tfds_records._labels(_Builder(objects=boxes))
    assert class_names is None and not multi_label and read({}) == -1


def test_the_multi_labels_of_voc_are_read():
    """Features are TFDS's, without the images; classes and poses of objects are not labels of the image."""
    features = tfds.builder("voc/2007", data_dir="/nonexistent").info.features
    class_names, multi_label, read = tfds_records._labels(_Builder(**features))
    assert len(class_names) == 20 and multi_label
    label = read(
        {"labels": tf.constant([2, 14], tf.int64), "labels_no_difficult": tf.constant([14], tf.int64)}
    )
    assert np.flatnonzero(label == 1).tolist() == [14] and np.flatnonzero(label == -1).tolist() == [2]
