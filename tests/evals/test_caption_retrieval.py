import numpy as np
import pytest

from barlow_jax.config.evaluation import Retrieval
from barlow_jax.config.schema import Config
from barlow_jax.data.captions import Captions
from barlow_jax.evals.caption_retrieval import first_captions, match, retrieval_scores
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


@pytest.mark.parametrize(("similarity", "recall"), [("cosine", 100), ("dot", 50)])
def test_the_similarity_is_that_of_the_config(similarity, recall):
    """The dot product puts the long caption of the second image first for the first image too."""
    config = Config(retrieval=Retrieval(similarity=similarity, k=(1,)))
    index = np.arange(2)
    images = FeatureTable(np.eye(2), np.full(2, -1), index)
    captions = FeatureTable(np.array([[0.5, 0.0], [3.0, 4.0]]), index)
    scores = retrieval_scores(config, images, captions)
    assert {s.value for s in scores if s.direction == "image_to_text"} == {recall}
