import numpy as np

from barlow_jax.data.captions import Captions
from barlow_jax.evals.caption_retrieval import first_captions, match
from barlow_jax.types import FeatureTable


def test_first_captions_of_each_image_are_kept():
    words, example = np.arange(12).reshape(6, 2), np.array([0, 0, 0, 2, 3, 3])
    some = first_captions(Captions(words, example), 2)
    np.testing.assert_array_equal(some.words, words[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(some.example, [0, 0, 2, 3, 3])
    assert len(first_captions(Captions(words, example), None).words) == 6


def test_captions_and_images_without_a_partner_are_dropped():
    """Image 1 could not be decoded, and image 3 has no caption."""
    rows = np.arange(4, dtype=np.float32)[:, np.newaxis]
    images = FeatureTable(rows[:3], np.full(3, -1), np.array([0, 2, 3]))
    images, captions = match(images, FeatureTable(rows, np.array([0, 1, 1, 2])))
    assert images.index.tolist() == [0, 2] and images.features.ravel().tolist() == [0, 1]
    assert captions.labels.tolist() == [0, 2] and captions.features.ravel().tolist() == [0, 3]
