"""Labels that allow an accuracy, images that two splits share, and the record of both."""

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data.collection import Collection
from barlow_jax.data.image_split import ImageSplit
from barlow_jax.errors import UserError
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.features import NotMeasurableError
from barlow_jax.types import FeatureTable


def _split(labels, num_classes=None, multi_label=False):
    classes = num_classes and [*map(str, range(num_classes))]
    names = [*map(str, range(6))]
    labels = None if labels is None else np.array(labels, np.int32)
    split = ImageSplit(Collection(names, None, labels, classes, "", [1] * 6), Data("images"))
    split.multi_label = multi_label
    return split


def _data(train, test, classes=3, **names):
    return EvaluationData(Data("images", "/x", **names), _split(train, classes), _split(test, classes))


GOOD = [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (_split(None), _split(None)),
        (_split(GOOD, 3), _split(None)),
        (_split(None), _split(GOOD, 3)),
        (_split([0] * 6, 1), _split([0] * 6, 1)),
        (_split(GOOD, 3), _split([0] * 6, 1)),
        (_split(np.eye(6), 6, multi_label=True), _split(GOOD, 3)),
    ],
)
def test_data_without_an_accuracy_are_refused_before_an_image_is_read(train, test):
    with pytest.raises(UserError, match=r"/x|multi-label"):
        EvaluationData(Data("images", "/x"), train, test).check_labels()


def test_svms_need_multi_label_images_and_all_else_single_labels():
    multi = _split(np.eye(6), 6, multi_label=True)
    EvaluationData(Data("images"), multi, multi).check_labels(multi_label=True)
    with pytest.raises(UserError, match="SVM"):
        _data(GOOD, GOOD).check_labels(multi_label=True)


def test_labels_of_one_class_are_refused_whatever_the_number_of_classes_is_said_to_be():
    for train, test in ((GOOD, [2] * 6), ([2] * 6, GOOD)):
        data = _data(train, test).check_labels()  # nothing is wrong with the number of classes
        with pytest.raises(NotMeasurableError):
            data.record(np.array(train), np.array(test))


def test_the_record_names_data_and_classes_that_training_never_saw(capsys):
    data = _data([0, 0, 1, 1, 0, 1], GOOD, eval_split="test")
    assert data.record(np.array([0, 0, 1]), np.array([0, 1, 2, 2])) == {
        "name": "images",
        "data_dir": "/x",
        "train_split": "train",
        "eval_split": "test",
        "train_images": 3,
        "eval_images": 4,
        "num_classes": 3,
        "shared_images": 0,
        "unseen_classes": {"2": 2},
    }
    assert "1 of 3 classes" in capsys.readouterr().err
    data.test.class_names = ["cat", "dog", "zebra"]
    assert data.record(np.array([0, 1]), np.array([0, 1, 2]))["unseen_classes"] == {"zebra": 1}


def test_rows_of_the_same_images_are_found_in_tables_with_gaps(capsys):
    """Images 0 and 4 of the training split and image 1 of the evaluation split could not be decoded."""
    split = _split(GOOD, 3)
    data = EvaluationData(Data("images", "/x", eval_split="train"), split, split)
    train_index, test_index = np.array([1, 2, 3, 5]), np.array([0, 2, 3, 4, 5])
    assert data.own_rows(train_index, test_index).tolist() == [-1, 1, 2, -1, 3]

    tables = iter((train_index, test_index))

    def extract(opened):
        index = next(tables)
        return FeatureTable(np.eye(6)[index], np.array(GOOD)[index], index)

    train, test, record = data.tables(extract)
    assert (train.decode_failures, test.decode_failures, record["shared_images"]) == (2, 1, 3)
    assert test.own.tolist() == [-1, 1, 2, -1, 3]
    assert "3 of 5" in capsys.readouterr().err


def test_slices_share_the_images_that_are_in_both(tmp_path):
    images = np.arange(8 * 4, dtype=np.uint8).reshape(8, 2, 2)
    np.savez(tmp_path / "train.npz", images=images, labels=np.arange(8) % 2)
    data = EvaluationData.open(
        Data("images", str(tmp_path), train_split="train[:75%]", eval_split="train[50%:]")
    )
    assert data.own_rows(np.arange(6), np.arange(4)).tolist() == [4, 5, -1, -1]
    apart = Data("images", str(tmp_path), train_split="train[:50%]", eval_split="train[50%:]")
    assert EvaluationData.open(apart).own_rows(np.arange(4), np.arange(4)) is None


def test_images_without_a_label_are_not_measured():
    train, test = [0, -1, 1, 0, -1, 2], [-1, 1, 0, 2, -1, 1]
    data = _data(train, test, eval_split="train")

    def extract(split):
        rows = np.arange(5)  # the last one cannot be decoded
        return FeatureTable(rows[:, np.newaxis].astype(np.float32), split.read_labels()[rows], rows)

    train, test, record = data.tables(extract)
    assert train.labels.tolist() == [0, 1, 0] and train.index.tolist() == [0, 2, 3]
    assert test.labels.tolist() == [1, 0, 2] and test.features[:, 0].tolist() == [1, 2, 3]
    assert test.own.tolist() == [-1, 1, 2] and (train.decode_failures, test.decode_failures) == (1, 1)
    assert (record["train_images"], record["eval_images"]) == (3, 3)
