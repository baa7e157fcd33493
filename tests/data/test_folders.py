"""Class folders: which files are read, in which order and of which class, and what is said of the others."""

import os

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import collection, folders
from barlow_jax.data.catalog import count_images
from barlow_jax.errors import UserError


def _touch(root, *names):
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass


def _data(root, **settings):
    settings = {"labels": "folders", "eval_split": "val"} | settings
    return Data(name="images", data_dir=str(root), **settings)


def _open(root, split, **settings):
    return collection.open_collection(_data(root, **settings), split)


def _classes(opened):
    names = [*opened.class_names, None]
    return dict(zip(opened.names, (names[label] for label in opened.labels), strict=True))


def test_linked_classes_are_read_in_each_class_and_a_circle_once(tmp_path):
    _touch(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png")
    (tmp_path / "train/cats").symlink_to("cat")
    (tmp_path / "train/cat/back").symlink_to("..")
    (tmp_path / "train/dog/again").symlink_to(".")
    assert _classes(_open(tmp_path, "train")) == {
        "train/cat/1.png": "cat",
        "train/cats/1.png": "cats",
        "train/dog/2.png": "dog",
    }


def test_slices_of_a_folder_are_disjoint_parts_of_one_order(tmp_path):
    _touch(tmp_path, *(f"train/{c}/{n}.png" for c in "ab" for n in range(10)), "extra/b/1.png")
    parts = {"train_split": "train[:90%]", "eval_split": "train[90%:]"}
    whole, most, rest, both = (
        _open(tmp_path, split, **parts)
        for split in ("train", "train[:90%]", "train[90%:]", "train[:2]+extra")
    )
    assert len(whole.names) == 20 and most.names + rest.names == whole.names != sorted(whole.names)
    np.testing.assert_array_equal(np.append(most.labels, rest.labels), whole.labels)
    assert both.names == [*whole.names[:2], "extra/b/1.png"] and both.labels[2] == 1
    counts = {"train[:90%]": 18, "train[90%:]": 2}
    assert count_images(_data(tmp_path, **parts), tuple(counts)) == (counts, [])


def test_classes_are_those_of_the_splits_in_use_and_hidden_names_are_none(tmp_path):
    _touch(
        tmp_path,
        "train/cat/1.png",
        "train/cat/.1.png",
        "train/dog/sub/sub/2.png",
        "train/outside.png",
        "val/emu/3.png",
        "other/ape/4.png",
        "train/.ipynb_checkpoints/1-checkpoint.png",
        "train/__MACOSX/cat/._1.png",
        ".git/a/5.png",
    )
    train, val, other = (_open(tmp_path, split) for split in ("train", "val", "other"))
    assert train.class_names == val.class_names == ["cat", "dog", "emu"]
    assert _classes(train) == {
        "train/cat/1.png": "cat",
        "train/dog/sub/sub/2.png": "dog",
        "train/outside.png": None,
    }
    assert val.labels == [2]
    assert (other.class_names, other.labels) == (["cat", "dog", "emu", "ape"], [3]), "further ones follow"
    assert "left out: 3 hidden" in train.description
    _, problems = count_images(_data(tmp_path), ("valid",))
    assert ".git" not in problems[0] and "other, train, val" in problems[0]


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    _touch(tmp_path, *(f"{c}/{n}.png" for c in ("train", "bus", "car") for n in range(20)))
    opened = _open(tmp_path, "train+held_out", eval_split="held_out")
    assert len(opened.names) == 60 and opened.class_names == ["bus", "car", "train"]


def test_every_file_is_read_or_counted_by_reason_in_one_line(tmp_path, capfd):
    images = ["train/a/1.png", "train/a/2.WEBP", "train/a/3.gif", "train/b/4.bmp", "train/b/5.jfif"]
    others = [*(f"train/a/{n}.xyz" for n in range(60)), "train/b/README", "train/c/7.heic"]
    _touch(tmp_path, *images, *others, "val/a/1.png")
    for _ in range(2):
        opened = _open(tmp_path, "train")
    assert sorted(opened.names) == images and opened.class_names == ["a", "b"]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "5 images of 2 classes" in line
    assert "60 .xyz files (train/a/0.xyz)" in line and "1 .heic files (train/c/7.heic)" in line
    assert "(train/b/README)" in line


def test_files_that_cannot_be_opened_are_images_and_named_at_the_start(tmp_path, capfd, monkeypatch):
    _touch(tmp_path, "train/a/1.png", "train/a/2.png", "train/a/3.png", "far/4.png", "val/a/5.png")
    (tmp_path / "train/a/good.png").symlink_to(tmp_path / "far/4.png")
    (tmp_path / "train/a/gone.png").symlink_to(tmp_path / "nothing.png")
    access = os.access  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: "2.png" not in str(path) and access(path, mode))
    assert len(_open(tmp_path, "train").names) == 5
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "5 images" in line
    assert "2 (train/a/2.png is missing or cannot be opened)" in line


def test_a_folder_of_images_without_classes_is_a_split_without_labels(tmp_path):
    _touch(tmp_path, "train/1.png", "train/2.png", "train/3.png", "val/4.png")
    train, part = (_open(tmp_path, split, labels=None) for split in ("train", "train[:2]"))
    assert len(train.names) == 3 and train.class_names is None and train.labels is None
    assert part.names == train.names[:2] and part.class_names is None
    with pytest.raises(UserError, match=r"config\.data\.labels=none"):
        _open(tmp_path, "train")


def test_names_of_any_bytes_are_listed_and_printable(tmp_path, capfd):
    _touch(tmp_path, b"train/caf\xe9/\xff.png", "train/zürich/1.png", b"train/zoo/\xfe.xyz", "val/zoo/1.png")
    opened = _open(tmp_path, "train")
    assert sorted(map(os.fsencode, opened.names)) == [
        b"train/caf\xe9/\xff.png",
        "train/zürich/1.png".encode(),
    ]
    assert r"(train/zoo/\xfe.xyz)" in capfd.readouterr().err and r"caf\xe9" in opened.class_names
    opened.description.encode()


def test_a_missing_split_is_named_with_those_that_exist(tmp_path):
    _touch(tmp_path, *(f"train/{c}/{n}.png" for c in "ab" for n in range(3)))
    _, problems = count_images(_data(tmp_path), ("val",))
    assert len(problems) == 1 and "no split 'val'" in problems[0] and "no others than train)" in problems[0]
    data = _data(tmp_path, train_split="train[:50%]", eval_split="train[50%:]")
    counts, problems = count_images(data, (data.train_split, data.eval_split))
    assert counts == {"train[:50%]": 3, "train[50%:]": 3} and not problems


def test_the_images_below_a_folder_are_found_by_their_names_in_order(tmp_path):
    _touch(tmp_path, "b/2.JPEG", "b/c/d/1.webp", "a.png", "z.GIF", "m.bmp", ".hidden.png", ".git/x.png")
    _touch(tmp_path, "b.txt", "png", "__MACOSX/a.png")
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    outside = tmp_path.with_name(tmp_path.name + "-outside")
    _touch(outside, "far.jpg")
    (tmp_path / "linked").symlink_to(outside)
    expected = ["a.png", "b/2.JPEG", "b/c/d/1.webp", "linked/far.jpg", "m.bmp", "z.GIF"]
    assert folders.list_images(str(tmp_path)).names == expected
