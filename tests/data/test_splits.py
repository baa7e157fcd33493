import sys

import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, splits
from barlow_jax.errors import UserError


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_datasets"])
@pytest.mark.parametrize("name", ["digits", "folder", "cifar10"])
def test_what_needs_tensorflow_says_so_where_it_is_missing(monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"install tensorflow and tensorflow-datasets, or provide .*=arrays"):
        splits.open_split(Data(name=name), "train")


def test_a_data_set_of_tfds_is_unavailable_reason_without_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert "install tensorflow and tensorflow-datasets" in catalog.unavailable_reason(Data(name="voc/2007"))


def test_any_folder_needs_tensorflow_and_says_so_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"--images: files are read by TensorFlow .* install tensorflow"):
        splits.open_images(str(tmp_path))
