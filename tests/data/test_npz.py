import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, npz
from barlow_jax.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def _data(folder, **arrays):
    np.savez(folder / "train.npz", **arrays)
    return Data(name="arrays", data_dir=str(folder), augment_on="device", canvas=8)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_images_and_labels_come_back(tmp_path, write):
    data = _data(tmp_path)
    write(tmp_path / "train.npz", images=RGB, labels=np.array([0, 2, 1, 0, 0, 2], np.uint8))
    images = npz.load(data, "train")
    np.testing.assert_array_equal(images.pixels, RGB)
    assert images.labels.tolist() == [0, 2, 1, 0, 0, 2] and images.labels.dtype == np.int32
    assert images.num_classes == 3


def test_the_number_of_classes_may_be_given(tmp_path):
    labels = np.array([0, 2, 1, 0, 0, 2])
    assert npz.load(_data(tmp_path, images=RGB, labels=labels, num_classes=10), "train").num_classes == 10


@pytest.mark.parametrize("grey", [RGB[..., 0], RGB[..., :1]])
def test_grey_images_have_three_equal_channels_and_no_labels_are_minus_one(tmp_path, grey):
    images = npz.load(_data(tmp_path, images=grey), "train")
    np.testing.assert_array_equal(images.pixels, np.repeat(RGB[..., :1], 3, axis=-1))
    assert images.labels.tolist() == [-1] * 6 and images.num_classes is None


def test_images_are_counted_in_the_header_alone(tmp_path, monkeypatch):
    data = _data(tmp_path, images=RGB)
    monkeypatch.setattr(np, "load", None)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    assert catalog.count_images(data, ("train",)) == ({"train": 6}, [])
    assert catalog.unavailable_reason(Data(**data.__dict__ | {"eval_split": "train"})) is None
    counts, (problem,) = catalog.count_images(data, ("train", "test"))
    assert counts == {"train": 6} and "has no test.npz; it has train.npz; numpy.savez" in problem


def test_a_pickle_among_the_arrays_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").write_text, ("",)

    for name in ("images", "labels", "num_classes"):
        trap = np.array([Trap()], dtype=object)
        with pytest.raises(UserError, match=r"config\.data\.data_dir"):
            npz.load(_data(tmp_path, **({"images": RGB} | {name: trap})), "train")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": np.zeros(6, int)}, "there is no array images; it has labels; numpy.savez"),
        ({"images": RGB / 255}, "images must be uint8 pixel values 0..255, got float64"),
        ({"images": RGB[0, 0]}, r"images must be \[N, height, width, 3 or 1\]"),
        ({"images": RGB[..., :2]}, r"or \[N, height, width\], got \(6, 5, 4, 2\)"),
        ({"images": RGB[:0]}, r"got \(0, 5, 4, 3\)"),
        (
            {"images": np.zeros((2, 5, 9), np.uint8)},
            "images of 5 x 9 pixels do not fit into config.data.canvas = 8; set it to 9",
        ),
        (
            {"images": RGB, "labels": np.zeros(5, int)},
            r"labels must be 6 integers, got int64 of shape \(5,\)",
        ),
        ({"images": RGB, "labels": np.zeros(6)}, "got float64"),
        (
            {"images": RGB, "labels": np.full(6, -1)},
            r"labels must be 0 .. num_classes - 1 = -1, got -1 .. -1; omit",
        ),
        ({"images": RGB, "labels": np.full(6, 3), "num_classes": 3}, "num_classes - 1 = 2, got 3 .. 3"),
        ({"images": RGB, "num_classes": np.arange(2)}, "num_classes must be one integer"),
        ({"images": np.full(2, None)}, r"images must be \[N, height, width, 3 or 1\]"),
        ({"images": np.full((2, 5, 4), None)}, "images must be uint8 pixel values 0..255, got object"),
        ({"images": RGB, "labels": np.full(6, None)}, "labels must be 6 integers, got object"),
    ],
)
def test_a_wrong_array_is_named_with_its_file(tmp_path, arrays, words):
    with pytest.raises(UserError, match=words) as error:
        npz.load(_data(tmp_path, **arrays), "train")
    assert str(tmp_path / "train.npz") in str(error.value)


def test_a_file_of_another_kind_and_a_damaged_one_are_named(tmp_path):
    many = np.tile(RGB, (100, 1, 1, 1))  # more than is read with the header
    data = _data(tmp_path, images=many)
    whole = (tmp_path / "train.npz").read_bytes()
    for content, words in (
        (b"no zip", "is not what numpy.savez writes"),
        (whole[: len(whole) // 2], "is not what numpy.savez writes"),
        (whole.replace(many.tobytes(), many.tobytes()[::-1]), "is damaged"),
    ):
        (tmp_path / "train.npz").write_bytes(content)
        with pytest.raises(UserError, match=words):
            npz.load(data, "train")


@pytest.mark.parametrize(
    ("folder", "words"),
    [(None, "config.data.data_dir: arrays need the folder"), ("/nowhere", "there is no folder /nowhere")],
)
def test_a_missing_folder_is_named(folder, words):
    _, problems = catalog.count_images(Data(name="arrays", data_dir=folder), ("train", "train"))
    assert words in problems[0]


def test_parts_of_splits_are_rows_of_the_files(tmp_path):
    labels = np.array([0, 2, 1, 0, 0, 2])
    data = _data(tmp_path, images=RGB[..., 0], labels=labels)
    np.savez(tmp_path / "extra.npz", images=RGB[:2], labels=[3, 3])
    np.savez(tmp_path / "small.npz", images=RGB[:, :4], labels=labels)
    np.savez(tmp_path / "train+x.npz", images=RGB[:1])
    part, both = npz.load(data, "train[50%:]"), npz.load(data, "train[:1] + extra")
    np.testing.assert_array_equal(part.pixels, npz.load(data, "train").pixels[3:])
    assert part.labels.tolist() == [0, 0, 2] and part.num_classes == 3, "of the whole file"
    np.testing.assert_array_equal(both.pixels[1:], RGB[:2])
    assert both.labels.tolist() == [0, 3, 3] and both.num_classes == 4
    counts = {"train[50%:]": 3, "train[:1] + extra": 3, "train+x": 1}
    assert catalog.count_images(data, tuple(counts)) == (counts, [])
    for split, words in (
        ("train+small", r"differ in"),
        ("train[9:]", "of 6"),
        ("train[3]", r"train\[:90%\]"),
    ):
        with pytest.raises(UserError, match=words):
            npz.load(data, split)
