import pytest
from recorded import RecordedDigits

from barlow_jax.config.schema import Data
from barlow_jax.data.catalog import count_images

SPLITS = ("train", "test")


def test_digits_are_counted_before_they_are_prepared(tmp_path):
    assert count_images(Data(name="digits", data_dir=str(tmp_path)), SPLITS) == (
        {"train": 1437, "test": 360},
        [],
    )


def test_a_folder_is_counted_without_tensorflow(tmp_path):
    for name in (
        "train/cat/1.jpg",
        "train/cat/2.JPEG",
        "train/dog/3.png",
        "test/cat/4.jpg",
        "test/cat/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    counts, problems = count_images(Data(name="images", data_dir=str(tmp_path), eval_split="test"), SPLITS)
    assert counts == {"train": 3, "test": 1} and not problems


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "cifar01"}, "TFDS has no data set 'cifar01'; did you mean 'cifar10'?"),
        ({"name": "imagenet2012_subset/2pct"}, "config.data.name: imagenet2012_subset/2pct"),
        ({"name": "images"}, "config.data.data_dir is none"),
        ({"name": "images", "data_dir": "/nowhere"}, "config.data: /nowhere does not exist"),
    ],
)
def test_what_is_not_there_is_named_with_the_remedy(data, words):
    _, problems = count_images(Data(**data), ("train", "validation"))
    assert len(problems) == 1 and words in problems[0]


def test_a_split_that_a_prepared_data_set_lacks_is_named(tmp_path):
    RecordedDigits(data_dir=str(tmp_path)).download_and_prepare(file_format="array_record")
    data = Data(name="recorded_digits", data_dir=str(tmp_path))
    assert count_images(data, SPLITS) == ({"train": 1437, "test": 360}, [])
    assert count_images(data, ("train[:10%]",)) == ({"train[:10%]": 144}, [])
    _, problems = count_images(data, ("train", "validation"))
    assert len(problems) == 1 and "recorded_digits has no split 'validation'; it has" in problems[0]


@pytest.mark.parametrize("name", ["digits", "captioned_digits"])
@pytest.mark.parametrize(
    ("split", "images"), [("train[:10%]", 144), ("train+test", 1797), ("train[:5]+test[10:]", 355)]
)
def test_a_part_of_a_split_is_known_before_the_data_set_is_prepared(tmp_path, name, split, images):
    data = Data(name=name, data_dir=str(tmp_path))
    assert count_images(data, (split,)) == ({split: images}, [])
    (problem,) = count_images(data, (split.replace("t", "v", 1),))[1]
    assert problem.startswith(f"config.data: {name} has no split 'vrain'; it has train, test; ")
    (problem,) = count_images(data, (split.rstrip("]") + "[",))[1]
    assert "train[:90%]" in problem
