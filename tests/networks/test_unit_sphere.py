"""Compares unit rows and cosines with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.networks.unit_sphere import cosines, unit_rows


def _rows(seed=0):
    return np.random.default_rng(seed).normal(size=(16, 5)).astype(np.float32)


@pytest.mark.parametrize("scale", [1e-11, 1e-3, 1.0, 1e6, 1e37])
def test_rows_have_length_one_and_their_direction_at_any_scale(scale):
    z = (_rows() * np.float32(scale)).astype(np.float64)
    np.testing.assert_allclose(unit_rows(z), z / np.linalg.norm(z, axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e20])
def test_the_gradient_is_the_projection_on_the_tangent(scale):
    """The gradient is (I - u u^T) g / |z|, also for rows along an axis."""
    z = _rows().astype(np.float64)
    z[0] = [0, 0, -2, 0, 0]
    z, g = z * scale, _rows(1).astype(np.float64)
    actual = jax.grad(lambda z: jnp.vdot(unit_rows(z), jnp.float32(g)))(jnp.float32(z))
    norms = np.linalg.norm(z, axis=1, keepdims=True)
    u = z / norms
    expected = (g - u * np.sum(u * g, axis=1, keepdims=True)) / norms
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("value", [0.0, 1e-42, 1e-30, 1e-13])
def test_a_vanishing_row_is_not_normalized_and_has_a_finite_gradient(value):
    z = np.full((3, 4), value, np.float32)
    u, gradient = unit_rows(z), jax.grad(lambda z: jnp.sum(unit_rows(z)))(z)
    # The processor flushes subnormal numbers to 0.
    np.testing.assert_allclose(u, z / np.float32(1e-12), rtol=1e-6, atol=1e-29)
    assert np.all(np.isfinite(gradient)) and np.all(gradient > 0)


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -np.inf])
def test_invalid_rows_are_propagated(invalid):
    z = _rows()
    z[3, 2] = invalid
    assert np.any(np.isnan(unit_rows(z)[3])) and np.all(np.isfinite(np.delete(unit_rows(z), 3, axis=0)))
    assert np.isnan(cosines(z, z)[3])


def test_cosines_are_those_of_numpy_in_any_dtype():
    x, y = jnp.bfloat16(_rows()), jnp.bfloat16(_rows(1))
    actual = cosines(x, y)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    assert actual.dtype == jnp.float32
    expected = np.sum(x * y, axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
