import numpy as np
from sklearn.neighbors import NearestNeighbors

from barlow_jax.evals.neighbors import nearest


def test_they_are_scikit_learns():
    rng = np.random.default_rng(0)
    features = rng.normal(1, 1, (500, 24)).astype(np.float32)
    queries = np.array([0, 3, 499, 250])
    rows, cosines = nearest(features[queries], features, 7, itself=queries)
    judge = NearestNeighbors(n_neighbors=8, metric="cosine", algorithm="brute").fit(
        features.astype(np.float64)
    )
    distances, expected = judge.kneighbors(features[queries].astype(np.float64))
    np.testing.assert_array_equal(expected[:, 0], queries)
    np.testing.assert_array_equal(rows, expected[:, 1:])
    np.testing.assert_allclose(cosines, 1 - distances[:, 1:], atol=1e-6)
    rows, cosines = nearest(features[queries] * 3, features, 8)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-6)


def _others(features, rows, k):
    rows = np.array(rows)
    return nearest(features[rows], features, k, itself=rows)


def test_a_copy_of_a_row_is_its_neighbour_and_the_row_itself_is_not():
    features = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    features[6] = 2 * features[2]
    rows, cosines = _others(features, [2, 6], 1)
    assert rows.tolist() == [[6], [2]]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_there_are_as_many_as_other_rows_at_most():
    rows, cosines = _others(np.eye(3, dtype=np.float32), [1], 10)
    assert rows.tolist() == [[0, 2]] and cosines.tolist() == [[0.0, 0.0]]
    assert _others(np.ones((1, 4), np.float32), [0], 2)[0].shape == (1, 0)


def test_a_row_of_zeros_is_near_nobody():
    features = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert _others(features, [0, 1], 2)[1].tolist() == [[0, 0], [0, 0]]
