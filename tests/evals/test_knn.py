import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from barlow_jax.errors import UserError
from barlow_jax.evals.knn import euclidean_accuracy, knn_accuracy
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


def _scikit_learn(train, test, k):
    """scikit-learn's classes as labels of the test rows: agreement is an accuracy of 1."""
    model = KNeighborsClassifier(k, algorithm="brute").fit(train.features.astype(np.float64), train.labels)
    return FeatureTable(test.features, model.predict(test.features.astype(np.float64)).astype(np.int32))


@pytest.mark.parametrize("k", [1, 2, 5, 40])
def test_euclidean_votes_are_those_of_scikit_learn(k):
    """Two of five classes often have as many votes, and then the smaller one wins."""
    train, test = _tables(test=1500)
    assert euclidean_accuracy(train, _scikit_learn(train, test, k), ks=(k,)) == {k: 1.0}


@pytest.mark.parametrize("offset", [0.0, 3e4, -3e4])
def test_a_common_offset_costs_no_digits(offset):
    """At 3e4 float32 numbers are 2^-9 apart, and the squares of the features add up to 6e10."""
    train, test = _tables(train=2000, test=600, width=64)
    moved = [FeatureTable(table.features + np.float32(offset), table.labels) for table in (train, test)]
    assert euclidean_accuracy(moved[0], _scikit_learn(*moved, 5), ks=(5,)) == {5: 1.0}


def test_tight_clusters_far_from_each_other_keep_their_neighbours_apart():
    """No mean removes these offsets: |f|^2 is 1e6, distances within a cluster are 1e-2."""
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 8, 600)
    centers = 128 * rng.normal(size=(8, 64))
    features = (centers[clusters] + 1e-2 * rng.normal(size=(600, 64))).astype(np.float32)
    labels = rng.integers(0, 3, 600).astype(np.int32)
    train, test = FeatureTable(features[:300], labels[:300]), FeatureTable(features[300:], labels[300:])
    assert euclidean_accuracy(train, _scikit_learn(train, test, 5), ks=(5,)) == {5: 1.0}


def test_all_rows_vote_by_distance_where_k_is_larger():
    train, test = _tables(train=10)
    assert euclidean_accuracy(train, _scikit_learn(train, test, 10), ks=(200,)) == {200: 1.0}


@pytest.mark.parametrize("measure", [knn_accuracy, euclidean_accuracy])
def test_multi_label_images_are_sent_to_transfer(measure):
    table = FeatureTable(np.ones((4, 3), np.float32), np.ones((4, 2), np.int32))
    with pytest.raises(UserError, match=r"multi-label.*`transfer`.*svm"):
        measure(table, table, ks=(1,))
