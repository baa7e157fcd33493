import numpy as np
from sklearn.neighbors import NearestNeighbors

from barlow_jax.evals.neighbors import nearest


def test_neighbors_and_cosines_are_scikit_learns():
    rng = np.random.default_rng(0)
    features = rng.normal(1, 1, (500, 24)).astype(np.float32)
    queries = np.array([0, 3, 499, 250])
    rows, cosines = nearest(features[queries], features, 7, exclude=queries)
    reference = NearestNeighbors(n_neighbors=8, metric="cosine", algorithm="brute").fit(
        features.astype(np.float64)
    )
    distances, expected = reference.kneighbors(features[queries].astype(np.float64))
    np.testing.assert_array_equal(expected[:, 0], queries)
    np.testing.assert_array_equal(rows, expected[:, 1:])
    np.testing.assert_allclose(cosines, 1 - distances[:, 1:], atol=1e-6)
    rows, cosines = nearest(features[queries] * 3, features, 8)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-6)


def _nearest_others(features, rows, k):
    rows = np.array(rows)
    return nearest(features[rows], features, k, exclude=rows)


def test_a_copy_of_a_row_is_its_neighbor_and_the_row_itself_is_not():
    features = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    features[6] = 2 * features[2]
    rows, cosines = _nearest_others(features, [2, 6], 1)
    assert rows.tolist() == [[6], [2]]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_k_is_limited_to_the_other_rows():
    rows, cosines = _nearest_others(np.eye(3, dtype=np.float32), [1], 10)
    assert rows.tolist() == [[0, 2]] and cosines.tolist() == [[0.0, 0.0]]
    assert _nearest_others(np.ones((1, 4), np.float32), [0], 2)[0].shape == (1, 0)


def test_a_row_of_zeros_has_cosine_0_with_every_row():
    features = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert _nearest_others(features, [0, 1], 2)[1].tolist() == [[0, 0], [0, 0]]


def test_a_query_may_have_no_row_to_exclude():
    features = np.eye(3, dtype=np.float32)
    rows, _ = nearest(features[:2], features, 2, exclude=np.array([-1, 1]))
    assert rows[0, 0] == 0 and 1 not in rows[1]
