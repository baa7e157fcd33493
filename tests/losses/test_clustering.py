"""k-means against scikit-learn and plain loops in float64, Sinkhorn-Knopp against the plain iteration."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.clustering import assign, balanced_offsets, kmeans

KEY, WIDTH = jax.random.key(0), 8


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _bank(rng):
    """Return rows around five directions; the last 548 and one other have not been written."""
    bank = np.zeros((2048, WIDTH), np.float32)
    bank[:1500] = _unit(rng.normal(size=(1500, WIDTH)) + 2 * np.repeat(np.eye(WIDTH)[:5], 300, 0))
    bank[40] = 0
    return bank


def test_spherical_kmeans_is_lloyds_algorithm_on_the_sphere(devices):
    """Both start from the same centroids; rows that were never written belong to no cluster."""
    rng = np.random.default_rng(0)
    bank = _bank(rng)
    layout = Layout(make_mesh(devices))
    run = jax.jit(kmeans, static_argnums=(2, 3))
    start, _ = run(KEY, bank, 6, 0)
    assert all(np.any(np.all(bank == row, axis=1)) and np.any(row) for row in np.asarray(start))
    centroids, labels = run(KEY, jax.device_put(bank, layout.batch), 6, 10)
    expected = np.asarray(start, np.float64)
    written = np.any(bank != 0, axis=1)
    for _ in range(10):
        clusters = np.argmax(bank @ expected.T, axis=1)
        for k in range(6):
            members = bank[written & (clusters == k)]
            expected[k] = _unit(members.mean(0)) if len(members) else expected[k]
    np.testing.assert_allclose(centroids, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, np.where(written, np.argmax(bank @ expected.T, axis=1), -1))
    np.testing.assert_array_equal(assign(jnp.asarray(bank), centroids)[written], np.asarray(labels)[written])


def test_euclidean_kmeans_is_that_of_scikit_learn(devices):
    bank = _bank(np.random.default_rng(0))
    written = np.any(bank != 0, axis=1)
    run = jax.jit(partial(kmeans, spherical=False), static_argnums=(2, 3))
    start, _ = run(KEY, bank, 7, 0)
    reference = KMeans(7, init=np.asarray(start, np.float64), n_init=1, max_iter=6, tol=0)
    expected = reference.fit_predict(bank[written].astype(np.float64))
    centroids, labels = run(KEY, jax.device_put(bank, Layout(make_mesh(devices)).batch), 7, 6)
    np.testing.assert_allclose(centroids, reference.cluster_centers_, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(labels)[written], expected)
    assert np.all(np.asarray(labels)[~written] == -1)
    spherical, _ = kmeans(KEY, bank, 7, 6)
    assert np.max(np.abs(spherical - _unit(np.asarray(centroids)))) > 0.01, "the two cannot be told apart"


@pytest.mark.parametrize("iterations", [1, 10])
def test_balanced_offsets_are_sinkhorn_knopps_over_all_written_rows(devices, iterations):
    bank = _bank(np.random.default_rng(0))
    centroids = _unit(np.random.default_rng(1).normal(size=(6, WIDTH))).astype(np.float32)
    codes = np.exp(bank[np.any(bank != 0, axis=1)].astype(np.float64) @ centroids.T / 0.1)
    for _ in range(iterations):
        codes /= codes.sum(1, keepdims=True)
        codes /= codes.sum(0, keepdims=True)
    solve = jax.jit(partial(balanced_offsets, epsilon=0.1, iterations=iterations))
    rows = jax.device_put(bank, Layout(make_mesh(devices)).batch)
    offsets = solve(rows, centroids)
    labels = np.asarray(assign(rows, centroids, offsets))[np.any(bank != 0, axis=1)]
    np.testing.assert_array_equal(labels, np.argmax(codes, axis=1))
    # Column k of the codes is exp(c_k . z / epsilon - offset / epsilon) up to a factor of each row.
    q = bank[0].astype(np.float64) @ centroids.T / 0.1 - np.asarray(offsets, np.float64)[0] / 0.1
    np.testing.assert_allclose(q - q[0], np.log(codes[0]) - np.log(codes[0, 0]), atol=2e-4)
