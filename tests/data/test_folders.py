"""Which files of a folder are read, in which order and of which class, and what is said of the others."""

import os

import pytest
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import folders
from barlow_jax.data.catalog import count_images
from barlow_jax.errors import UserError


def _touch(root, *names):
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass


def _data(root, **settings):
    return Data(name="folder", data_dir=str(root), **{"eval_split": "val"} | settings)


def test_order_and_labels_are_those_of_tfds(tmp_path):
    """Bit for bit what was read before: `tfds.ImageFolder` was the reader."""
    _touch(
        tmp_path,
        *(
            f"{s}/{c}/{n}.{e}"
            for s in ("train", "val")
            for c in "ab"
            for n in range(9)
            for e in ("jpg", "PNG")
        ),
        "train/a-b/1.jpeg",
        "val/z/notes.txt",
    )
    builder = tfds.ImageFolder(str(tmp_path))
    for split, examples in builder._split_examples.items():
        listing = folders.list_split(_data(tmp_path), split)
        assert [os.path.join(tmp_path, name) for name in listing.names] == [e.image_path for e in examples]
        assert listing.labels == [builder.info.features["label"].str2int(e.label) for e in examples]
        assert listing.class_names == builder.info.features["label"].names


def test_linked_classes_are_read_in_each_class_and_a_circle_once(tmp_path):
    _touch(tmp_path, "train/cat/1.png", "train/dog/2.png")
    (tmp_path / "train/cats").symlink_to("cat")
    (tmp_path / "train/cat/back").symlink_to("..")
    (tmp_path / "train/dog/again").symlink_to(".")
    listing = folders.list_split(_data(tmp_path), "train")
    assert sorted(listing.names) == ["train/cat/1.png", "train/cats/1.png", "train/dog/2.png"]
    assert listing.class_names == ["cat", "cats", "dog"] and sorted(listing.labels) == [0, 1, 2]


def test_slices_of_a_folder_are_disjoint_parts_of_one_order(tmp_path):
    _touch(tmp_path, *(f"train/{c}/{n}.png" for c in "ab" for n in range(10)), "extra/b/1.png")
    whole, most, rest, both = (
        folders.list_split(_data(tmp_path), split)
        for split in ("train", "train[:90%]", "train[90%:]", "train[:2]+extra")
    )
    assert len(whole.names) == 20 and most.names + rest.names == whole.names
    assert most.labels + rest.labels == whole.labels and len(rest.names) == 2
    assert both.names == [*whole.names[:2], "extra/b/1.png"] and both.labels[2] == 1
    data = _data(tmp_path)
    assert count_images(data, ("train[:90%]", "train[90%:]")) == ({"train[:90%]": 18, "train[90%:]": 2}, [])


def test_classes_are_those_of_the_splits_in_use_and_hidden_names_are_none(tmp_path):
    _touch(
        tmp_path,
        "train/cat/1.png",
        "train/cat/.1.png",
        "train/dog/sub/sub/2.png",
        "val/emu/3.png",
        "other/ape/4.png",
        "train/.ipynb_checkpoints/1-checkpoint.png",
        "train/__MACOSX/cat/._1.png",
        ".git/a/5.png",
    )
    train, val, other = (folders.list_split(_data(tmp_path), split) for split in ("train", "val", "other"))
    assert train.class_names == val.class_names == ["cat", "dog", "emu"]
    assert dict(zip(train.names, train.labels, strict=True)) == {
        "train/cat/1.png": 0,
        "train/dog/sub/sub/2.png": 1,
    }
    assert val.labels == [2]
    assert (other.class_names, other.labels) == (["cat", "dog", "emu", "ape"], [3]), "further ones follow"
    assert sorted(train.left_out) == ["hidden"] and len(train.left_out["hidden"]) == 3
    _, problems = count_images(_data(tmp_path), ("valid",))
    assert ".git" not in problems[0] and "other, train, val" in problems[0]


def test_every_file_is_read_or_counted_by_reason_in_one_line(tmp_path, capfd):
    images = ["train/a/1.png", "train/a/2.WEBP", "train/a/3.gif", "train/b/4.bmp", "train/b/5.jfif"]
    others = [*(f"train/a/{n}.tif" for n in range(60)), "train/6.png", "train/b/README", "train/c/7.heic"]
    _touch(tmp_path, *images, *others)
    listing = folders.open_split(_data(tmp_path), "train")
    folders.open_split(_data(tmp_path), "train")
    assert sorted(listing.names) == images and listing.class_names == ["a", "b", "c"]
    assert sum(map(len, listing.left_out.values())) == len(others) + 1, "and class c, without images"
    assert sorted({name for names in listing.left_out.values() for name in names} - set(others)) == [
        "train/c"
    ]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "5 images" in line
    assert "60 .tif files (train/a/0.tif)" in line and "1 .heic files (train/c/7.heic)" in line
    assert "(train/6.png)" in line and "(train/b/README)" in line and "(train/c)" in line


def test_files_that_cannot_be_opened_are_images_and_named_at_the_start(tmp_path, capfd, monkeypatch):
    _touch(tmp_path, "train/a/1.png", "train/a/2.png", "train/a/3.png", "far/4.png")
    (tmp_path / "train/a/good.png").symlink_to(tmp_path / "far/4.png")
    (tmp_path / "train/a/gone.png").symlink_to(tmp_path / "nothing.png")
    access = os.access  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: "2.png" not in str(path) and access(path, mode))
    assert len(folders.open_split(_data(tmp_path), "train").names) == 5
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "5 images" in line
    assert "1 (train/a/gone.png is a link to a missing file)" in line
    assert "1 (train/a/2.png cannot be opened: permission denied)" in line


def test_a_folder_of_images_without_classes_is_a_split_without_labels(tmp_path):
    _touch(tmp_path, "train/1.png", "train/2.png", "train/3.png", "val/a/4.png")
    train, part, val = (folders.list_split(_data(tmp_path), s) for s in ("train", "train[:2]", "val"))
    assert len(train.names) == 3 and train.class_names is None and train.labels is None
    assert part.names == train.names[:2] and part.class_names is None
    assert (val.labels, val.class_names) == ([0], ["a"])


def test_names_of_any_bytes_are_listed_and_printable(tmp_path, capfd):
    _touch(tmp_path, b"train/caf\xe9/\xff.png", "train/zürich/1.png", b"train/zoo/\xfe.tif")
    listing = folders.open_split(_data(tmp_path), "train")
    assert sorted(map(os.fsencode, listing.names)) == [
        b"train/caf\xe9/\xff.png",
        "train/zürich/1.png".encode(),
    ]
    assert r"(train/zoo/\xfe.tif)" in capfd.readouterr().err
    listing.describe(listing.names[0]).encode()


@pytest.mark.parametrize(
    ("files", "remedy"),
    [
        (["train/a/1.png", "test/a/2.png"], "--config.data.eval_split='train[90%:]'"),
        (["train/1.png"], "--config.data.eval_split='train[90%:]'"),
        (["a/1.png", "b/2.png"], "--config.data.data_dir={parent} --config.data.train_split='{name}[:90%]'"),
        (["1.png"], "--config.data.data_dir={parent} --config.data.train_split='{name}[:90%]'"),
    ],
)
def test_a_missing_split_comes_with_a_command_that_works(tmp_path, files, remedy):
    _touch(tmp_path, *files)
    _, problems = count_images(_data(tmp_path), ("val",))
    assert len(problems) == 1
    assert remedy.format(parent=tmp_path.parent, name=tmp_path.name) in problems[0]
    if "{" in remedy:
        (count,) = count_images(_data(tmp_path.parent), (tmp_path.name,))[0].values()
        assert count == len(files)


def test_a_split_without_a_readable_image_is_refused_with_what_is_there(tmp_path):
    _touch(tmp_path, "train/a/1.tif", "train/a/2.tif")
    with pytest.raises(UserError, match=r"has 0 images.*2 \.tif files \(train/a/1\.tif\).*\.jpg"):
        folders.list_split(_data(tmp_path), "train")


def test_the_images_below_a_folder_are_found_by_their_names_in_order(tmp_path):
    _touch(tmp_path, "b/2.JPEG", "b/c/d/1.webp", "a.png", "z.GIF", "m.bmp", ".hidden.png", ".git/x.png")
    _touch(tmp_path, "b.txt", "png", "__MACOSX/a.png")
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    outside = tmp_path.with_name(tmp_path.name + "-outside")
    _touch(outside, "far.jpg")
    (tmp_path / "linked").symlink_to(outside)
    expected = ["a.png", "b/2.JPEG", "b/c/d/1.webp", "linked/far.jpg", "m.bmp", "z.GIF"]
    assert folders.list_images(str(tmp_path)).names == expected
