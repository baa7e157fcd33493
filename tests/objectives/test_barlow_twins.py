"""Against equation 1 of the paper, written out in float64 NumPy."""

import doctest

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
import numpy as np
import pytest

from barlow_jax.mesh import make_mesh
from barlow_jax.objectives import barlow_twins
from barlow_jax.objectives.barlow_twins import barlow_twins_loss, barlow_twins_terms, cross_correlation

WEIGHT = 0.0051


def _reference(z_a, z_b, weight=WEIGHT, epsilon=1e-5):
    """sum_i (1 - C_ii)^2 + weight sum_i sum_j!=i C_ij^2, element by element."""
    a, b = (np.asarray(z, np.float64) for z in (z_a, z_b))
    a = (a - a.mean(0)) / np.sqrt(a.var(0) + epsilon)
    b = (b - b.mean(0)) / np.sqrt(b.var(0) + epsilon)
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = (a[:, i] * b[:, j]).sum() / a.shape[0]
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


def _embeddings(rows, width, seed=0, mean=0.0):
    first, noise = np.random.default_rng(seed).normal(size=(2, rows, width))
    return (first + mean).astype(np.float32), (first + 0.5 * noise + mean).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 24), st.integers(0, 99))
def test_loss_is_equation_1_at_any_shape(rows, width, seed):
    z_a, z_b = _embeddings(rows, width, seed)
    loss = barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT)
    np.testing.assert_allclose(loss, _reference(z_a, z_b), rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_equation_1():
    z_a, z_b = _embeddings(6, 4)
    gradient = jax.grad(lambda z: barlow_twins_loss(z, z_b, off_diagonal_weight=WEIGHT))(jnp.asarray(z_a))
    for place in np.ndindex(z_a.shape):
        step = np.zeros(z_a.shape)
        step[place] = 1e-5
        slope = (_reference(z_a + step, z_b) - _reference(z_a - step, z_b)) / 2e-5
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-4)


def test_loss_is_zero_at_identity_correlation():
    z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    np.testing.assert_allclose(barlow_twins_loss(z, z, off_diagonal_weight=1.0), 0, atol=1e-8)


def test_swapping_the_views_changes_nothing():
    z_a, z_b = _embeddings(16, 8)
    one, other = (barlow_twins_loss(*pair, off_diagonal_weight=WEIGHT) for pair in ((z_a, z_b), (z_b, z_a)))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_scale_and_shift_of_a_feature_change_nothing():
    z_a, z_b = _embeddings(64, 8)
    moved = barlow_twins_loss(3 * z_a + 5, z_b, off_diagonal_weight=WEIGHT)
    np.testing.assert_allclose(moved, barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT), rtol=1e-4)


def test_a_large_mean_costs_no_accuracy():
    z_a, z_b = _embeddings(32, 8, mean=30.0)
    loss = barlow_twins_loss(0.01 * z_a, 0.01 * z_b, off_diagonal_weight=WEIGHT)
    np.testing.assert_allclose(loss, _reference(0.01 * z_a, 0.01 * z_b), rtol=1e-3)


def test_a_constant_feature_gives_finite_loss_and_gradient():
    z_a, z_b = _embeddings(8, 3)
    z_a[:, 0] = z_b[:, 0] = 4.0
    loss, gradient = jax.value_and_grad(lambda z: barlow_twins_loss(z, z_b, off_diagonal_weight=WEIGHT))(z_a)
    assert np.isfinite(loss) and np.all(np.isfinite(gradient))


def test_bfloat16_embeddings_are_standardised_in_float32():
    z_a, z_b = (jnp.asarray(z, jnp.bfloat16) for z in _embeddings(64, 16))
    loss = barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, _reference(z_a, z_b), rtol=1e-5)


def test_sharded_rows_give_the_loss_of_the_global_batch(devices):
    z_a, z_b = _embeddings(64, 16)
    rows = NamedSharding(make_mesh(devices), P("data"))
    loss = jax.jit(lambda a, b: barlow_twins_loss(a, b, off_diagonal_weight=WEIGHT))
    sharded = loss(jax.device_put(z_a, rows), jax.device_put(z_b, rows))
    np.testing.assert_allclose(sharded, _reference(z_a, z_b), rtol=1e-6)


def test_terms_say_what_the_matrix_says():
    z_a, z_b = _embeddings(50, 7)
    matrix = np.asarray(cross_correlation(z_a, z_b))
    terms = barlow_twins_terms(z_a, z_b)
    np.testing.assert_allclose(terms.diagonal_mean, np.diag(matrix).mean(), rtol=1e-6)
    np.testing.assert_allclose(terms.redundancy, (matrix**2).sum() - (np.diag(matrix) ** 2).sum(), rtol=1e-5)
    deviations = np.stack([z_a.std(0), z_b.std(0)])
    np.testing.assert_allclose(terms.embedding_std_min, deviations.min(), rtol=1e-5)
    np.testing.assert_allclose(terms.embedding_std_mean, deviations.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ((4, 3), (4, 2), r"\(4, 3\) and \(4, 2\)"),
        ((4,), (4,), r"expected two \[N, D\] arrays"),
        ((1, 3), (1, 3), "batch statistics need 2 rows"),
    ],
)
def test_wrong_shapes_are_named(one, other, words):
    with pytest.raises(ValueError, match=words):
        barlow_twins_loss(jnp.zeros(one), jnp.zeros(other), off_diagonal_weight=WEIGHT)


def test_the_docstring_example_runs():
    assert doctest.testmod(barlow_twins).failed == 0
