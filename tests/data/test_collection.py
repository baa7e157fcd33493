"""Images of any kind of source: names, contents, splits and labels."""

import io
import json
import os
import sys
import tarfile

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, collection
from barlow_jax.errors import UserError


def _write(root, *names):
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"content of " + os.fsencode(name))


def _data(path, **settings):
    return Data(name="images", data_dir=str(path), **settings)


def _open(path, split="train+held_out", **settings):
    return collection.open_collection(_data(path, **settings), split)


def _labels(images):
    """Return the name of the class by image."""
    names = [*images.class_names, None]
    return dict(zip(images.names, [names[label] for label in images.labels], strict=True))


def _contents(images):
    return {name: images.read(index) for index, name in enumerate(images.names)}


def test_held_out_images_stay_so_when_images_are_added(tmp_path):
    _write(tmp_path, *(f"{n % 3}/{n}.png" for n in range(200)))
    train, held_out = ({*_open(tmp_path, name).names} for name in ("train", "held_out"))
    assert not train & held_out and len(train | held_out) == 200 and 10 < len(held_out) < 30
    _write(tmp_path, *(f"more/{n}.tiff" for n in range(100)))
    assert held_out <= {*_open(tmp_path, "held_out").names} and train <= {*_open(tmp_path, "train").names}
    half = {*_open(tmp_path, "held_out", held_out=0.5).names}
    assert held_out <= half and 120 < len(half) < 180
    parts = _open(tmp_path, "train[:50%]").names + _open(tmp_path, "train[50%:]").names
    assert parts == _open(tmp_path, "train").names and parts != sorted(parts)


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_both_splits_of_few_images_have_two(tmp_path, fraction):
    _write(tmp_path, *(f"{n}.png" for n in range(40)))
    sizes = collection.split_names(_data(tmp_path, held_out=fraction))
    assert sorted(sizes.values()) == [2, 38] and sizes.keys() == {"train", "held_out"}


def test_a_folder_of_any_depth_and_names(tmp_path):
    names = ["ä/ö/ü.TIF", b"caf\xe9.jpg", "flat.npy", "a/b/c/d.dcm"]
    _write(tmp_path, *names, "notes.txt", ".hidden.png", "a/.cache/x.png")
    images = _open(tmp_path)
    assert _contents(images) == {os.fsdecode(n): b"content of " + os.fsencode(n) for n in names}
    assert images.labels is None and images.class_names is None
    (tmp_path / "broken.png").symlink_to("missing")
    images = _open(tmp_path)
    with pytest.raises(OSError, match="broken"):
        images.read(images.names.index("broken.png"))
    assert "1 (broken.png" in images.description and "2 hidden" in images.description


def test_train_and_test_folders_are_splits(tmp_path):
    _write(tmp_path, *(f"train/{c}/{n}.png" for c in "xy" for n in range(5)), "test/y/1.png", "test/x/2.png")
    assert collection.split_names(_data(tmp_path)) == {"train": 10, "test": 2}
    images = _open(tmp_path, "test", labels="folders")
    assert _labels(images) == {"test/y/1.png": "y", "test/x/2.png": "x"}
    _write(tmp_path, "more/1.png")
    assert collection.split_names(_data(tmp_path)).keys() == {"train", "held_out"}


def test_tiny_imagenet_is_read_from_its_archive(tmp_path):
    """Training images lie in <class>/images/, those of val in images/, with their classes in a list."""
    _write(tmp_path, "train/n01/images/n01_0.JPEG", "train/n02/images/n02_0.JPEG", "train/n01/n01_boxes.txt")
    _write(tmp_path, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    lines = "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t3\t3\t4\t5\n"
    (tmp_path / "val" / "val_annotations.txt").write_text(lines)
    settings = {"labels": "folders", "eval_split": "val"}
    val = _open(tmp_path, "val", **settings)
    assert _labels(val) == {"val/images/val_0.JPEG": "n02", "val/images/val_1.JPEG": "n01"}
    assert val.class_names == _open(tmp_path, "train", **settings).class_names == ["n01", "n02"]


def test_classes_select_the_images_of_both_splits(tmp_path):
    _write(tmp_path, *(f"{s}/{c}/{n}.png" for s in ("train", "val") for c in "abc" for n in range(2)))
    settings = {"labels": "folders", "eval_split": "val", "classes": ("c", "a")}
    for split in ("train", "val"):
        images = _open(tmp_path, split, **settings)
        assert _labels(images) == {f"{split}/{c}/{n}.png": c for c in "ac" for n in range(2)}
        assert images.class_names == ["a", "c"] and {*images.labels} == {0, 1}
    assert catalog.count_images(_data(tmp_path, **settings), ("train",)) == ({"train": 4}, [])
    for wrong in ({"classes": ("a", "z")}, {"labels": None}):
        with pytest.raises(UserError, match="classes is"):
            _open(tmp_path, "val", **settings | wrong)


def test_a_list_of_paths(tmp_path):
    _write(tmp_path, "photos/a.png", "photos/b c\u2028.jpg", b"caf\xe9.jpg", "not_listed.png")
    content = "\ufeffphotos/a.png\r\n./photos/b c\u2028.jpg\n\n".encode() + b"caf\xe9.jpg\n"
    content += os.fsencode(tmp_path / "photos/../photos/a.png") + b".missing\n"
    (tmp_path / "list.txt").write_bytes(content)
    images = _open(tmp_path / "list.txt", labels="folders")
    assert _labels(images) == {
        "photos/a.png": "photos",
        "photos/b c\u2028.jpg": "photos",
        os.fsdecode(b"caf\xe9.jpg"): None,
        "photos/a.png.missing": "photos",
    }
    assert images.sizes[images.names.index("photos/a.png.missing")] == -1
    assert images.read(images.names.index("photos/b c\u2028.jpg")).startswith(b"content of photos/b c")


@pytest.mark.parametrize("kind", ["comma", "semicolon", "parquet"])
def test_a_table_with_classes_and_splits(tmp_path, kind):
    columns = {
        "path": ["a/1.png", "a/2.png", "b/1.png", "b/2, 3.png"],
        "label": [10, 9, None, 10],
        "kind": ["x", None, " y", "y "],
        "split": ["train", "test", "train", None],
    }
    _write(tmp_path, *columns["path"])
    path = tmp_path / ("table.parquet" if kind == "parquet" else "table.csv")
    if kind == "parquet":
        from pyarrow import parquet, table

        parquet.write_table(table(columns), path)
    else:
        sep = {"comma": ",", "semicolon": ";"}[kind]
        rows = [columns, *zip(*columns.values(), strict=True)]
        lines = [sep.join(f'"{"" if v is None else v}"' for v in row) for row in rows]
        path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n")
    assert collection.split_names(_data(path)) == {"train": 3, "test": 1}
    images = _open(path, "train+test")
    assert images.class_names == ["9", "10"]
    assert _labels(images) == dict(zip(columns["path"], ["10", "9", None, "10"], strict=True))
    images = _open(path, "train", label_column="kind")
    assert _labels(images) == {"a/1.png": "x", "b/1.png": "y", "b/2, 3.png": "y"}


@pytest.mark.parametrize(
    ("rows", "num_unmatched"),
    [
        (["cats/1.png,cat", "dogs/1.png,dog", "dogs/9.png,dog"], 1),
        (["images/cats/1.png,cat", "images/dogs/1.png,dog"], 0),  # relative to the table
        (["e\u0301.png,dog"], 0),  # the same name in another form of Unicode
        (["\u00e9,dog", "1,cat"], 1),  # without suffixes; 1 is in two folders
    ],
)
def test_a_table_of_labels_for_a_folder(tmp_path, rows, num_unmatched):
    _write(tmp_path / "images", "cats/1.png", "dogs/1.png", "dogs/\u00e9.png")
    (tmp_path / "labels.csv").write_text("path,animal\n" + "\n".join(rows))
    images = _open(tmp_path / "images", labels=str(tmp_path / "labels.csv"))
    labels = _labels(images)
    matched = {name: label for name, label in labels.items() if label}
    assert len(labels) == 3 and len(matched) == len(rows) - num_unmatched
    assert all(label == ("cat" if name.startswith("cats") else "dog") for name, label in matched.items())
    assert f"{len(matched)} of all 3 images" in images.description
    assert (f"{num_unmatched} rows match" in images.description) == bool(num_unmatched)


def _write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_tar_shards(tmp_path):
    samples = {
        "0.jpg": b"first",
        "0.cls": b"7\n",
        "0.json": json.dumps({"name": "seven"}).encode(),
        "sub/1.png": b"second",
        "sub/1.cls": b"11",
        "._0.jpg": b"",
    }
    _write_tar(tmp_path / "data/0.tar", samples)
    _write_tar(tmp_path / "data/more/1.tar", {"0.jpg": b"third"})
    images = _open(tmp_path / "data", label_column="cls")
    assert _contents(images) == {
        "0.tar/0.jpg": b"first",
        "0.tar/sub/1.png": b"second",
        "more/1.tar/0.jpg": b"third",
    }
    assert _labels(images) == {"0.tar/0.jpg": "7", "0.tar/sub/1.png": "11", "more/1.tar/0.jpg": None}
    images = _open(tmp_path / "data/0.tar", label_column="name")
    assert _labels(images) == {"0.jpg": "seven", "sub/1.png": None}
    assert _open(tmp_path / "data/0.tar").labels is None
    for settings in ({"labels": "folders"}, {"label_column": "missing"}):
        with pytest.raises(UserError, match=r"folders|missing"):
            _open(tmp_path / "data", **settings)
    content = bytearray((tmp_path / "data/0.tar").read_bytes())
    for damaged in (content[:1300], content[:1024] + b"x" * 512 + content[1536:], b"", b"\x1f\x8b" + content):
        (tmp_path / "damaged.tar").write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged\.tar"):
            _open(tmp_path / "damaged.tar")


def test_numpy_arrays(tmp_path):
    pixels = np.arange(5 * 4 * 3 * 7, dtype=np.uint16).reshape(5, 4, 3, 7)
    np.save(tmp_path / "a.npy", pixels)
    np.savez_compressed(tmp_path / "a.npz", images=pixels[..., 0], labels=[3, 3, 5, -1, 5], split=[*"uuvvv"])
    images = _open(tmp_path / "a.npy")
    for name, content in _contents(images).items():
        np.testing.assert_array_equal(content, pixels[int(name)], strict=True)
    images = _open(tmp_path / "a.npz", "v+u")
    np.testing.assert_array_equal(images.read(0), pixels[int(images.names[0]), ..., 0], strict=True)
    assert _labels(images) == {"0": "3", "1": "3", "2": "5", "3": None, "4": "5"}
    before = [*images.identity()]
    np.savez_compressed(tmp_path / "a.npz", images=pixels[..., 1], labels=[3, 3, 5, -1, 5], split=[*"uuvvv"])
    assert not {*before} & {*_open(tmp_path / "a.npz", "v+u").identity()}


def test_a_folder_of_arrays_has_a_split_per_file_in_its_order(tmp_path):
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    np.savez(tmp_path / "train.npz", images=pixels, labels=[3, 3, 5, -1, 5], num_classes=9)
    np.savez_compressed(tmp_path / "test.npz", images=pixels[:2], labels=[5, 6])
    np.savez(tmp_path / "a+b.npz", images=pixels[:, :2])
    images, part = _open(tmp_path, "train"), _open(tmp_path, "test + train[80%:]")
    assert _labels(images) == dict(
        zip((f"train/{n}" for n in range(5)), ["3", "3", "5", None, "5"], strict=True)
    )
    assert part.names == ["test/0", "test/1", "train/4"] and part.labels.tolist() == [1, 2, 1]
    np.testing.assert_array_equal(part.read(2), pixels[4], strict=True)
    assert collection.split_names(_data(tmp_path)) == {"a+b": 5, "test": 2, "train": 5}
    assert _open(tmp_path, "a+b").labels.tolist() == [-1] * 5
    before = [*images.identity()]
    np.savez(tmp_path / "train.npz", images=pixels + 1, labels=[3, 3, 5, -1, 5])
    os.utime(tmp_path, (0, 0))  # the folder's time tells its versions apart
    assert not {*before} & {*_open(tmp_path, "train").identity()}
    for split in ("val", "train[9:]", "train[3]"):
        with pytest.raises(UserError, match=r"config\.data: "):
            _open(tmp_path, split)


def test_python_objects_in_arrays_are_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").write_text, ("",)

    for name in ("images", "labels"):
        arrays = {"images": np.zeros((1, 2, 2), np.uint8)} | {name: np.array([Trap()], dtype=object)}
        np.savez(tmp_path / "train.npz", **arrays)
        with pytest.raises(UserError, match=r"train\.npz"):
            _open(tmp_path, "train")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["saved", "single", "parquet", "bytes"])
def test_hugging_face_data(tmp_path, kind, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = {"label": datasets.ClassLabel(names=["dog", "cat"]), "picture": datasets.Value("binary")}
    if kind != "bytes":  # the only column of bytes, if no column has images
        features = {"hash": datasets.Value("binary"), **features, "picture": datasets.Image()}
    features = datasets.Features(features)

    def rows(*labels):
        images = [b"%d" % label if label >= 0 else None for label in labels]
        if kind != "bytes":
            images = [image and {"bytes": image, "path": None} for image in images]
        columns = {"hash": [b"?"] * len(labels), "label": labels, "picture": images}
        return datasets.Dataset.from_dict({name: columns[name] for name in features}, features)

    parts = datasets.DatasetDict(train=rows(0, 1, 1), test=rows(1, -1))
    source, expression = tmp_path / "[da]ta*é", "train+test"
    if kind == "saved":
        parts.save_to_disk(source)
    elif kind == "single":
        expression = "train+held_out"
        datasets.concatenate_datasets([*parts.values()]).select([4, 3, 2, 1, 0]).save_to_disk(source)
    else:
        for name, part in parts.items():
            part.to_parquet(source / f"data/{name}-00000-of-00001-abc.parquet")
    images = _open(source, expression)
    (empty,) = (index for index, size in enumerate(images.sizes) if size == -1)
    with pytest.raises(OSError, match="holds no image"):
        images.read(empty)
    found = [(images.read(i), images.labels[i]) for i in range(5) if i != empty]
    assert sorted(found) == [(b"0", 1), (b"1", 0), (b"1", 0), (b"1", 0)] and images.labels[empty] == -1
    assert sorted(images.sizes) == [-1, 1, 1, 1, 1] and images.class_names == ["cat", "dog"]


def test_without_datasets_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    _write(tmp_path, "dataset_info.json")
    with pytest.raises(UserError, match=r"barlow_jax\[hf\]"):
        _open(tmp_path)


_TABLES = {"t.csv": "path,label,id\n1.png,a,1\n2.png,a,2\n3.png,b,3\n"}


@pytest.mark.parametrize(
    ("files", "source", "settings", "named"),
    [
        ({"t.csv": "path"}, "", {}, "0 images"),
        ({"a.gz": "", "b.xyz": ""}, "", {}, r"1 \.gz files"),
        ({}, "nowhere", {}, "nowhere"),
        ({"1.png": ""}, "1.png", {}, r"\.csv"),
        ({"l.txt": "\n"}, "l.txt", {}, "empty"),
        ({"l.txt": "1.png\n2.png"}, "l.txt", {}, r"1\.png"),
        ({"1.png": "", "l.txt": "1.png\n./1.png"}, "l.txt", {}, r"1\.png twice"),
        ({"t.csv": ""}, "t.csv", {}, r"t\.csv"),
        ({"t.csv": "file,label\n1.png,2"}, "t.csv", {}, "file, label"),
        ({"t.csv": "path,label\n1.png"}, "t.csv", {}, "row 2"),
        ({"t.csv": "path,label\n1.png,a\n,b"}, "t.csv", {}, "image 2"),
        ({"t.csv": 'path\n"1.png'}, "t.csv", {}, r"t\.csv"),
        ({"t.parquet": "PAR1"}, "t.parquet", {}, r"t\.parquet"),
        (_TABLES, "", {"label_column": "kind"}, "label_column is kind"),
        (_TABLES, "", {"labels": "t.csv", "label_column": "kind"}, "label, id"),
        (_TABLES, "", {"labels": "t.csv", "label_column": "id"}, "id"),
        ({"t.csv": "path,a,b\n1.png,1,2"}, "", {"labels": "t.csv"}, "a, b"),
        ({"t.csv": "path,a\n9.png,1"}, "", {"labels": "t.csv"}, r"9\.png"),
        ({"t.csv": "path,a\n1.png,"}, "", {"labels": "t.csv"}, "a is empty for all 3"),
        ({}, "", {"labels": "missing.csv"}, r"missing\.csv"),
        ({}, "", {"labels": "folders"}, "folders"),
        ({}, "", {"label_column": "kind"}, "label_column is kind"),
        ({"a.npz": "PK"}, "a.npz", {}, r"a\.npz"),
        ({"a.npy": ""}, "a.npy", {}, r"a\.npy"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, files, source, settings, named):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    if settings:
        _write(tmp_path, "1.png", "2.png", "3.png")
    if settings.get("labels", "").endswith(".csv"):
        settings = settings | {"labels": str(tmp_path / settings["labels"])}
    data = _data(tmp_path / source, **settings)
    _, problems = catalog.count_images(data, ("train", "held_out"))
    assert len(problems) == 1 and problems[0].startswith("config.data")
    with pytest.raises(UserError, match=named):
        collection.open_collection(data, "train")


def test_other_mistakes_are_named(tmp_path):
    from pyarrow import parquet, table

    _write(tmp_path, "1.png", "2.png")
    for paths, label in (([1, 2], ["a", "b"]), (["1.png", "2.png"], [["a"], ["b"]])):
        parquet.write_table(table({"path": paths, "label": label}), tmp_path / "t.parquet")
        with pytest.raises(UserError, match=r"the path of image 1 is 1|\['a'\]"):
            _open(tmp_path / "t.parquet", label_column="label")
    images = _open(tmp_path / "t.parquet")  # nobody asked for labels
    assert images.labels is None and "without labels" in images.description
    for array in (np.zeros(3), np.zeros((2, 2, 2), bool), np.array([{}])):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(UserError, match=r"x\.npy"):
            _open(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    with pytest.raises(UserError, match=r"x\.npz"):
        _open(tmp_path / "x.npz")
    with pytest.raises(UserError, match="train, held_out"):
        _open(tmp_path, "val")
    with pytest.raises(UserError, match=r"config\.data\.data_dir"):
        collection.open_collection(Data(name="images"), "train")
    with pytest.raises(UserError, match="--images"):
        collection.open_all(str(tmp_path / "nowhere"), Data())


def test_all_images_of_a_source_in_its_order(tmp_path):
    _write(tmp_path, *(f"{s}/{n}.png" for s in ("test", "train") for n in range(9)))
    images = collection.open_all(str(tmp_path), Data(labels="/nowhere.csv", label_column="x"))
    assert images.names == [f"{s}/{n}.png" for s in ("test", "train") for n in range(9)]
    assert images.labels is None


def test_identity_changes_with_an_image(tmp_path):
    _write(tmp_path, "1.png", "2.png", "3.png", "4.png")
    before = dict(zip(_open(tmp_path).names, _open(tmp_path).identity(), strict=True))
    (tmp_path / "2.png").write_bytes(b"replaced")
    (tmp_path / "5.png").write_bytes(b"new")
    after = dict(zip(_open(tmp_path).names, _open(tmp_path).identity(), strict=True))
    assert {name for name in before if before[name] != after[name]} == {"2.png"}
    train, test = (_open(tmp_path, name) for name in ("train", "held_out"))
    assert not {*train.identity()} & {*test.identity()}
