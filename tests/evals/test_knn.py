import numpy as np
import pytest

from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.types import FeatureTable


def _tables(seed=0, train=120, test=50, width=8, classes=5):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(classes, width))
    labels = rng.integers(0, classes, train + test).astype(np.int32)
    features = (centers[labels] + rng.normal(size=(train + test, width))).astype(np.float32)
    return FeatureTable(features[:train], labels[:train]), FeatureTable(features[train:], labels[train:])


def _reference(train, test, k, temperature):
    """The vote of Wu et al. in float64, one query at a time."""
    correct = 0
    for feature, label in zip(test.features.astype(float), test.labels, strict=True):
        cosines = train.features.astype(float) @ feature
        cosines /= np.linalg.norm(train.features.astype(float), axis=1) * np.linalg.norm(feature)
        nearest = np.argsort(-cosines)[:k]
        scores = np.zeros(train.labels.max() + 1)
        for row in nearest:
            scores[train.labels[row]] += np.exp(cosines[row] / temperature)
        correct += scores.argmax() == label
    return correct / len(test.labels)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_accuracy_is_that_of_the_weighted_vote(temperature):
    train, test = _tables()
    actual = knn_accuracy(train, test, ks=(1, 20, 100), temperature=temperature)
    assert actual == {k: pytest.approx(_reference(train, test, k, temperature)) for k in (1, 20, 100)}


def test_the_training_rows_themselves_are_their_nearest_neighbours():
    train, _ = _tables()
    assert knn_accuracy(train, train, ks=(1,)) == {1: 1.0}


def test_all_rows_vote_where_k_is_larger():
    train, test = _tables(train=10)
    assert knn_accuracy(train, test, ks=(200,)) == {200: pytest.approx(_reference(train, test, 10, 0.07))}


def test_the_scale_of_a_feature_vector_does_not_matter():
    train, test = _tables()
    scaled = FeatureTable(test.features * 1000, test.labels)
    assert knn_accuracy(train, test, ks=(20,)) == knn_accuracy(train, scaled, ks=(20,))


def test_queries_beyond_one_chunk_are_counted():
    train, test = _tables(test=2100)
    assert knn_accuracy(train, test, ks=(5,)) == {5: pytest.approx(_reference(train, test, 5, 0.07))}
