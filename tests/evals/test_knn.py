import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from barlow_jax.config.evaluation import Knn
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.evals import knn
from barlow_jax.evals.accuracy import label_subset
from barlow_jax.types import FeatureTable


def knn_accuracy(*args, **options):
    return {k: values["top1"] for k, values in knn.knn_accuracy(*args, **options).items()}


def euclidean_accuracy(*args, **options):
    return knn_accuracy(*args, **options, temperature=None)


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


def test_the_training_rows_themselves_are_their_nearest_neighbors():
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


def test_tight_clusters_far_from_each_other_keep_their_neighbors_apart():
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


@pytest.mark.parametrize("temperature", [0.07, None])
def test_balanced_accuracy_is_that_of_scikit_learn(temperature):
    """Class 0 has two thirds of the rows, and one class occurs in training alone."""
    train, test = _tables(test=300)
    rare = np.random.default_rng(1).random(300) < 0.5
    keep = (test.labels == 0) | (rare & (test.labels != 3))
    test = FeatureTable(test.features[keep], test.labels[keep])
    model = KNeighborsClassifier(
        20,
        algorithm="brute",
        metric="cosine" if temperature else "euclidean",
        weights=(lambda d: np.exp((1 - d) / 0.07)) if temperature else "uniform",
    ).fit(train.features.astype(np.float64), train.labels)
    predicted = model.predict(test.features.astype(np.float64))
    actual = knn.knn_accuracy(train, test, ks=(20,), temperature=temperature)[20]
    assert actual["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test.labels, predicted))
    assert actual["top1"] == pytest.approx(np.mean(predicted == test.labels))
    assert abs(actual["top1"] - actual["balanced_accuracy"]) > 0.01


@pytest.mark.parametrize("measure", [knn_accuracy, euclidean_accuracy])
@pytest.mark.parametrize("k", [1, 5, 24])
def test_an_image_is_not_its_own_neighbor(measure, k):
    """Against one call per query without its row; 24 is the whole bank. Every third query has no row."""
    bank, _ = _tables(train=24)
    own = np.where(np.arange(24) % 3 == 0, -1, np.arange(24))
    hits = []
    for row in range(24):
        kept = np.arange(24) != own[row]
        rest = FeatureTable(bank.features[kept], bank.labels[kept])
        query = FeatureTable(bank.features[row : row + 1], bank.labels[row : row + 1])
        hits.append(measure(rest, query, ks=(k,))[k])
    assert measure(bank, bank._replace(own=own), ks=(k,))[k] == pytest.approx(np.mean(hits))


def test_a_subset_of_the_labels_excludes_the_same_rows():
    config = Config(knn=Knn(k=(1,), euclidean_k=(), label_fractions=(0.5, 1.0)))
    features = np.repeat(np.eye(8, dtype=np.float32), 2, axis=0)  # pairs of equal images
    bank = FeatureTable(features, np.arange(16, dtype=np.int32) % 2)  # the two of a pair differ
    scores = knn.knn(config, bank, bank._replace(own=np.arange(16)))
    assert [s.value for s in scores if s.label_fraction == 1 and s.metric == "top1"] == [0.0]
    rows = label_subset(bank.labels, 0.5, 0)
    inside = np.isin(np.arange(16), rows)
    np.testing.assert_array_equal(knn._within(rows, np.arange(16))[inside], np.arange(8))
    assert (knn._within(rows, np.arange(16))[~inside] == -1).all()
