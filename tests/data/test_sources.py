import io

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from barlow_jax.config import Data
from barlow_jax.data import sources
from barlow_jax.data.digits import Digits
from barlow_jax.errors import UserError


def _examples(source, index):
    records = source.fetch(tf.constant(index, tf.int64))
    parsed = [source.parse(record) for record in records]
    return [(np.asarray(Image.open(io.BytesIO(image.numpy()))), int(label)) for image, label in parsed]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_records_are_read_by_index_in_either_format(tmp_path, file_format):
    builder = Digits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format=file_format)
    source = sources.open_split(Data(name="digits", data_dir=str(tmp_path)), "train")
    index = [0, 1436, 7, 7]
    reader = builder.as_dataset if file_format == "tfrecord" else builder.as_data_source
    expected = [{name: np.asarray(value) for name, value in e.items()} for e in reader(split="train")]
    assert source.num_examples == len(expected) and source.num_classes == 10
    for (image, label), place in zip(_examples(source, index), index, strict=True):
        np.testing.assert_array_equal(image, expected[place]["image"][..., 0])
        assert label == expected[place]["label"]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_part_of_a_split_is_that_part(tmp_path, file_format):
    builder = Digits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format=file_format)
    whole, part = (
        sources.open_split(Data(name="digits", data_dir=str(tmp_path)), split)
        for split in ("train", "train[100:150]")
    )
    assert part.num_examples == 50
    np.testing.assert_array_equal(_examples(part, [3])[0][0], _examples(whole, [103])[0][0])


def test_digits_are_prepared_where_they_are_not(tmp_path):
    source = sources.open_split(Data(name="digits", data_dir=str(tmp_path)), "test")
    assert source.num_examples == 360


def test_a_folder_is_read_by_index(tmp_path):
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            level = 100 * label + number
            Image.new("RGB", (5, 4), (level,) * 3).save(tmp_path / "train" / name / f"{number}.png")
    source = sources.open_split(Data(name="folder", data_dir=str(tmp_path)), "train")
    found = _examples(source, range(6))
    assert source.num_examples == 6 and source.num_classes == 2
    assert sorted((int(image[0, 0, 0]), label) for image, label in found) == [
        (0, 0), (1, 0), (2, 0), (100, 1), (101, 1), (102, 1),
    ]  # fmt: skip


def test_a_file_format_that_cannot_be_read_by_index_names_what_prepares_another(tmp_path):
    builder = Digits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format="parquet")
    with pytest.raises(UserError, match="launch/prepare_data"):
        sources.open_split(Data(name="digits", data_dir=str(tmp_path)), "train")
