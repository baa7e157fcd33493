"""Compares values with the equations in float64 NumPy, and gradients with numerical differentiation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.losses.whitening import whiten


def _embeddings(rows=24, width=8, seed=0, batch=()):
    """Return correlated embeddings of std 0.1 to 10 and non-zero mean."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(width) + rng.normal(size=(width, width)) / (2 * width**0.5)
    z = rng.normal(size=(*batch, rows, width)) @ mixing * np.geomspace(0.1, 10, width) + 3
    return z.astype(np.float32)


def _reference(v, shrinkage=0.0):
    v = np.asarray(v, np.float64)
    centered = v - v.mean(0)
    s = (1 - shrinkage) * centered.T @ centered / (len(v) - 1) + shrinkage * np.eye(v.shape[1])
    return np.linalg.solve(np.linalg.cholesky(s), centered.T).T, s


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_it_is_the_equation(shrinkage):
    v = _embeddings()
    actual, pivot = jax.jit(partial(whiten, shrinkage=shrinkage))(v)
    expected, s = _reference(v, shrinkage)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max())
    # 1 - R^2 of a feature on those before it, from the inverse of their block of S.
    blocks = [np.linalg.inv(s[:i, :i])[-1, -1] * s[i - 1, i - 1] for i in range(1, 9)]
    np.testing.assert_allclose(pivot, 1 / np.max(blocks), rtol=1e-4)


@pytest.mark.parametrize(("rows", "width"), [(128, 64), (256, 128)])
def test_the_covariance_is_the_identity(rows, width):
    """Uses the official sizes."""
    z, _ = jax.jit(whiten)(np.random.default_rng(0).normal(size=(3, rows, width)).astype(np.float32) + 5)
    for sub_batch in np.asarray(z, np.float64):
        np.testing.assert_allclose(sub_batch.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(np.cov(sub_batch, rowvar=False), np.eye(width), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_gradients_are_numerical_ones_of_float64(shrinkage):
    v, weights = _embeddings(), np.random.default_rng(1).normal(size=(24, 8))
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(weights * jnp.sin(whiten(v, shrinkage)[0]))))(v)
    stds = v.std(0, keepdims=True)

    def value(v):
        return np.sum(weights * np.sin(_reference(v, shrinkage)[0]))

    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=v.shape) * stds
        slope = (value(v + 1e-5 * direction) - value(v - 1e-5 * direction)) / 2e-5
        # In units of each feature's std, so that all features count equally.
        assert abs(np.vdot(gradient, direction) - slope) < 2e-5 * np.linalg.norm(gradient * stds)


def test_gradients_are_those_through_the_cholesky_factor_itself():
    """Compares with JAX's derivatives of the factor and the solve, in float64."""
    v, weights = _embeddings(batch=(2,)), np.random.default_rng(1).normal(size=(2, 24, 8))
    actual = jax.grad(lambda v: jnp.sum(weights * whiten(v)[0]))(v)

    def plain(v):
        centered = v - v.mean(1, keepdims=True)
        factor = jnp.linalg.cholesky(centered.mT @ centered / 23)
        return jnp.sum(weights * jax.scipy.linalg.solve_triangular(factor, centered.mT, lower=True).mT)

    with jax.enable_x64(True):
        expected = np.asarray(jax.grad(plain)(jnp.asarray(v, jnp.float64)))
    stds = v.std(1, keepdims=True)
    assert np.linalg.norm((actual - expected) * stds) < 1e-5 * np.linalg.norm(expected * stds)


def test_each_sub_batch_is_whitened_by_itself():
    v = _embeddings(batch=(2, 3))
    together, pivots = whiten(v)
    for i, j in np.ndindex(2, 3):
        alone, pivot = whiten(v[i, j])
        np.testing.assert_allclose(together[i, j], alone, atol=1e-5)
        np.testing.assert_allclose(pivots[i, j], pivot, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-15, 1e-5, 1e5, 1e15])
def test_scale_and_shift_of_a_feature_change_nothing(scale):
    v = _embeddings()
    moved, pivot = whiten(np.float32(scale) * (v + 10))
    expected, same = whiten(v)
    np.testing.assert_allclose(moved, expected, atol=1e-3)  # the shift costs digits of v
    np.testing.assert_allclose(pivot, same, rtol=1e-3)


SINGULAR = {
    "constant": np.full((24, 8), 0.1),
    "zero": np.zeros((24, 8)),
    "one feature constant": np.where(np.arange(8) == 3, 0.1, _embeddings()),
    "one feature twice": _embeddings()[:, [0, 1, 2, 3, 4, 5, 6, 2]],
    "a sum of others": np.where(np.arange(8) == 7, _embeddings()[:, :7].sum(1, keepdims=True), _embeddings()),
    "fewer rows than features": _embeddings(6, 8),
    "as many rows as features": _embeddings(8, 8),
    "too large for float32": np.float32(1e25) * _embeddings(),
    "not finite": np.where(np.arange(8) == 3, np.nan, _embeddings()),
}


@pytest.mark.parametrize("case", SINGULAR)
def test_a_singular_covariance_has_a_pivot_of_0(case):
    v = SINGULAR[case].astype(np.float32)
    z, pull, pivot = jax.vjp(whiten, v, has_aux=True)
    assert pivot == 0
    if case not in ("too large for float32", "not finite"):
        (gradient,) = pull(jnp.ones_like(z))
        assert np.all(np.isfinite(z)) and np.all(np.isfinite(gradient))


def test_shrinkage_makes_it_regular():
    for case in ("constant", "one feature twice", "fewer rows than features"):
        z, pivot = whiten(SINGULAR[case].astype(np.float32), 0.1)
        assert np.all(np.isfinite(z)) and pivot > 1e-4, case


def test_one_singular_sub_batch_leaves_the_others_alone():
    v = _embeddings(batch=(2,))
    v[1, :, 3] = 0
    z, pivots = whiten(v)
    assert pivots[0] > 0 and pivots[1] == 0
    np.testing.assert_allclose(z[0], whiten(v[0])[0], atol=1e-5)
