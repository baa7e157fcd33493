import os
import sys

from PIL import Image
import pytest

from barlow_jax import data
from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, splits
from barlow_jax.errors import UserError


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_datasets"])
def test_what_needs_tensorflow_says_so_where_it_is_missing(monkeypatch, module):
    for name in ("tfds_records", "record_split"):  # as if nothing had imported them yet
        monkeypatch.delitem(sys.modules, f"barlow_jax.data.{name}", raising=False)
        monkeypatch.delattr(data, name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install tensorflow tensorflow-datasets.*=images"):
        splits.open_split(Data(name="cifar10"), "train")


def test_a_data_set_of_tfds_is_unavailable_reason_without_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert "pip install tensorflow" in catalog.unavailable_reason(Data(name="voc/2007"))


def test_other_images_need_no_tensorflow_and_a_source_without_any_is_refused(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=r"--images: .*1 \.txt files \(a\.txt\).* end in \.jpg, .*\.npy"):
        splits.open_images(str(tmp_path), Data())
    with pytest.raises(UserError, match=r"ftp://bucket/x .*the schemes of buckets"):
        splits.open_images("ftp://bucket/x", Data())
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    assert splits.open_images(str(tmp_path), Data()).num_examples == 1


@pytest.fixture
def two_folders(tmp_path):
    """Two folders of the same files."""
    for root in ("one", "two"):
        for name in ("train/a/1.png", "train/b/2.png", "train/b/3.png", "val/b/4.png"):
            (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / root / name).touch()
    return tmp_path / "one", tmp_path / "two"


def test_identity_of_files_is_their_relative_paths_and_sizes_in_order(two_folders):
    def identity(root):
        return list(splits.open_split(Data("images", str(root), eval_split="val"), "train").identity())

    one, two = map(identity, two_folders)
    assert one == two and sorted(one) == [b"train/a/1.png 0", b"train/b/2.png 0", b"train/b/3.png 0"]
    (two_folders[1] / "train/b/3.png").rename(two_folders[1] / "train/b/4.png")
    os.utime(two_folders[1], (0, 0))  # the root's time tells listings apart
    assert identity(two_folders[1]) != one


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ("train", "train", [0, 1, 2, 3]),
        ("train[:75%]", "train[50%:]", [2, -1]),
        ("train[2:]+test", "train", [-1, -1, 0, 1]),
        ("train[:2]", "train[2:]", None),
        ("train", "test", None),
    ],
)
def test_examples_of_overlapping_splits_are_matched(train, test, expected):
    data = Data("digits", train_split=train, eval_split=test)

    class Four:
        """Splits of four numbered examples; those of test have other names."""

        def __init__(self, spec):
            numbers = {
                "train": range(4), "train[:75%]": range(3), "train[50%:]": (2, 3), "train[:2]": (0, 1),
                "train[2:]": (2, 3), "train[2:]+test": (2, 3, 9), "test": (9,),
            }  # fmt: skip
            self.examples = numbers[spec]
            self.num_examples = len(self.examples)

        def identity(self):
            return (b"%d" % number for number in self.examples)

    shared = splits.shared_examples(data, Four(train), Four(test))
    assert shared is expected if expected is None else shared.tolist() == expected
