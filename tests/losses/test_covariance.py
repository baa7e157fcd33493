"""Compares value and gradient of both terms with their equations in float64 NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.covariance import covariance_energy, variance_hinge

FORMS = ("direct", "gram")
SHAPES = ((24, 64), (64, 24))


def _hinge(z, gamma=1.0, epsilon=1e-4):
    z = np.asarray(z, np.float64)
    std = np.sqrt(z.var(0, ddof=1) + epsilon)
    short = std < gamma
    gradient = -1.0 * short * (z - z.mean(0)) / std / (len(z) - 1) / z.shape[1]
    return np.maximum(0, gamma - std).mean(), gradient


def _energy(z):
    z = np.asarray(z, np.float64) - np.mean(z, axis=0, dtype=np.float64)
    c = z.T @ z / (len(z) - 1)
    off = c - np.diag(np.diag(c))
    return np.sum(off**2) / z.shape[1], 4 * z @ off / (len(z) - 1) / z.shape[1]


def _embeddings(rows, width, spread=0.5, mean=0.0, seed=0):
    """Return correlated features of std exp(spread * normal)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, width)) + rng.normal(size=(rows, 3)) @ rng.normal(size=(3, width)) / 4
    return (z * np.exp(spread * rng.normal(size=width)) + mean).astype(np.float32)


def _check(term, z, reference, value=1e-6, gradient=2e-6):
    actual, slope = jax.jit(jax.value_and_grad(term))(z)
    expected, expected_slope = reference(z)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=value)
    assert np.linalg.norm(slope - expected_slope) < gradient * np.linalg.norm(expected_slope)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gamma", [0.5, 1.0, 4.0])
def test_the_hinge_is_equations_1_and_2(shape, gamma):
    z = _embeddings(*shape, mean=2.0)
    assert 0 < (z.std(0, ddof=1) < 1).mean() < 1
    _check(partial(variance_hinge, target_std=gamma), z, partial(_hinge, gamma=gamma))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_are_equations_3_and_4(shape, form):
    _check(partial(covariance_energy, form=form), _embeddings(*shape), _energy)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("resharded", [True, False])
def test_sharded_rows_have_the_terms_of_the_global_batch(devices, shape, form, resharded):
    layout, z = Layout(make_mesh(devices)), _embeddings(*shape)
    reshard = layout.reshard if resharded else None
    actual, gradient = jax.jit(jax.value_and_grad(partial(covariance_energy, form=form, reshard=reshard)))(
        jax.device_put(z, layout.batch)
    )
    np.testing.assert_allclose(actual, _energy(z)[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, _energy(z)[1], rtol=1e-5, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(
        jax.jit(variance_hinge)(jax.device_put(z, layout.batch)), _hinge(z)[0], rtol=1e-6
    )


@pytest.mark.parametrize(("form", "shape"), [("gram", (256, 1024)), ("direct", (512, 256))])
def test_large_sums_keep_their_digits(form, shape):
    _check(partial(covariance_energy, form=form), _embeddings(*shape), _energy)


def test_gram_loses_the_documented_digits():
    """If one feature is far larger, the error is 1e-7 of its squared variance at most."""
    z = _embeddings(24, 64, spread=0.0)
    z[:, 0] *= 300
    expected, _ = _energy(z)
    variances = z.var(0, ddof=1, dtype=np.float64)
    assert abs(covariance_energy(z, form="direct") / expected - 1) < 1e-6
    assert abs(covariance_energy(z, form="gram") - expected) < 4e-7 * np.sum(variances**2) / 64


def test_auto_builds_the_smaller_matrix():
    lowered = jax.jit(jax.grad(covariance_energy)).lower(_embeddings(8, 64)).as_text()
    assert "tensor<8x8xf32>" in lowered and "tensor<64x64xf32>" not in lowered


@pytest.mark.parametrize("form", FORMS)
def test_one_view_needs_two_products_and_communicates_one_gram_matrix(form, devices):
    """One product for the matrix and one for the gradient, which is symmetric."""
    layout = Layout(make_mesh(devices))
    z = jax.device_put(_embeddings(24, 64), layout.batch)
    step = jax.jit(jax.value_and_grad(partial(covariance_energy, form=form, reshard=layout.reshard)))
    compiled = step.lower(z).compile().as_text()
    assert compiled.count(" dot(") == 2
    summed = " ".join(line for line in compiled.splitlines() if " all-reduce(" in line).split(
        "replica_groups"
    )[0]
    assert summed.count("f32[24,24]") == (form == "gram" and len(devices) > 1)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_operands_cost_what_the_docstring_says(form):
    term = partial(covariance_energy, form=form, operand_dtype=jnp.bfloat16)
    z = _embeddings(256, 512)
    _check(term, z, _energy, value=1e-4, gradient=5e-3)
    assert np.linalg.norm(jax.grad(term)(z) - _energy(z)[1]) > 1e-4 * np.linalg.norm(_energy(z)[1])


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_rows_and_shifts_change_nothing(form):
    z = _embeddings(32, 48)
    moved = z[np.random.default_rng(0).permutation(32)] + np.linspace(-2, 2, 48, dtype=np.float32)
    energy = partial(covariance_energy, form=form)
    np.testing.assert_allclose(energy(moved), energy(z), rtol=2e-6)
    np.testing.assert_allclose(variance_hinge(moved), variance_hinge(z), rtol=2e-6)


def test_uncorrelated_features_have_no_energy():
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    assert covariance_energy(3 * signs, form="direct") == 0
    assert variance_hinge(3 * signs) == 0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_constant_embeddings_have_the_largest_hinge_and_no_gradient(value):
    z = jnp.full((16, 12), value)
    actual, gradient = jax.value_and_grad(lambda z: variance_hinge(z) + covariance_energy(z))(z)
    np.testing.assert_allclose(actual, 1 - 0.01, rtol=1e-6)
    assert not np.any(gradient)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e8])
def test_terms_are_correct_for_small_and_large_values(scale):
    z = scale * _embeddings(24, 40)
    for form in FORMS:
        actual, gradient = jax.value_and_grad(partial(covariance_energy, form=form))(z)
        np.testing.assert_allclose(actual, _energy(z)[0], rtol=1e-6, atol=1e-30)
        assert np.all(np.isfinite(gradient))
    np.testing.assert_allclose(variance_hinge(z), _hinge(z)[0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 3, 4)])
def test_wrong_shapes_are_named(shape):
    for term in (variance_hinge, covariance_energy):
        with pytest.raises(ValueError):
            term(jnp.zeros(shape))
