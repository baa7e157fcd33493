import numpy as np
from sklearn.datasets import load_digits

from barlow_jax.data.sklearn_digits import NUM_IMAGES
from barlow_jax.data.tfds_digits import Digits


def _load(tmp_path):
    builder = Digits(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format="array_record")
    sources = {split: builder.as_data_source(split) for split in NUM_IMAGES}
    return {split: [source[i] for i in range(len(source))] for split, source in sources.items()}


def test_the_images_are_scikit_learns_and_no_image_is_in_both_splits(tmp_path):
    splits = _load(tmp_path)
    assert {name: len(examples) for name, examples in splits.items()} == NUM_IMAGES
    ours = [(e["label"], e["image"].tobytes()) for examples in splits.values() for e in examples]
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype(np.uint8)
    expected = [(label, image.tobytes()) for label, image in zip(digits.target, pixels, strict=True)]
    assert sorted(ours) == sorted(expected)


def test_every_class_has_a_fifth_of_its_images_in_the_test_split(tmp_path):
    splits = _load(tmp_path)
    train, test = (np.bincount([e["label"] for e in splits[name]]) for name in ("train", "test"))
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.005)
