"""Compares with equation 1 of the paper, written out in float64 NumPy and under shard_map."""

from functools import partial

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.embedding_statistics import standardized_embedding_statistics
from barlow_jax.objectives.barlow_twins import barlow_twins_loss, barlow_twins_terms, cross_correlation

WEIGHT = 0.0051
FORMS = ("direct", "gram")
BELOW_AND_ABOVE = ((48, 80), (80, 48))  # N < D and N > D


def _standardize(z, epsilon):
    std = np.sqrt(z.var(0) + epsilon)
    return (z - z.mean(0)) / std, std


def _reference(z_a, z_b, weight=WEIGHT, epsilon=1e-5):
    """Return sum_i (1 - C_ii)^2 + weight sum_i sum_j!=i C_ij^2 and its gradients, in float64."""
    rows = len(z_a)
    (a, std_a), (b, std_b) = (_standardize(np.asarray(z, np.float64), epsilon) for z in (z_a, z_b))
    c = a.T @ b / rows
    diagonal = np.eye(c.shape[0], dtype=bool)
    loss = np.sum(np.where(diagonal, (1 - c) ** 2, weight * c**2))
    d_c = np.where(diagonal, 2 * (c - 1), 2 * weight * c) / rows

    def through_standardize(d, x, std):  # because of epsilon the variance of x is not quite 1
        return (d - d.mean(0) - x * (d * x).mean(0)) / std

    return loss, (through_standardize(b @ d_c.T, a, std_a), through_standardize(a @ d_c, b, std_b))


def _embeddings(rows, width, seed=0, mean=0.0):
    first, noise = np.random.default_rng(seed).normal(size=(2, rows, width))
    return (first + mean).astype(np.float32), (first + noise + mean).astype(np.float32)


def _value_and_gradients(z_a, z_b, **kwargs):
    loss = partial(barlow_twins_loss, off_diagonal_weight=WEIGHT, **kwargs)
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(z_a, z_b)


def _distance(gradients, reference):
    """Return the distance of two pairs of gradients, relative to the second."""
    difference = [np.asarray(g, np.float64) - r for g, r in zip(gradients, reference, strict=True)]
    return np.sqrt(sum(map(np.vdot, difference, difference)) / sum(map(np.vdot, reference, reference)))


def _check(actual, expected, value=1e-6, gradient=1e-5):
    np.testing.assert_allclose(actual[0], expected[0], rtol=value)
    assert _distance(actual[1], expected[1]) < gradient


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, deadline=None)
@given(st.integers(8, 64), st.integers(4, 64), st.integers(0, 99))
def test_both_forms_are_equation_1_at_any_shape(form, rows, width, seed):
    pair = _embeddings(rows, width, seed)
    _check(_value_and_gradients(*pair, form=form), _reference(*pair))


@pytest.mark.parametrize("shape", BELOW_AND_ABOVE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("resharded", [True, False])
def test_sharded_rows_give_the_loss_and_gradients_of_the_global_batch(devices, form, shape, resharded):
    layout = Layout(make_mesh(devices))
    pair = _embeddings(*shape)
    placed = [jax.device_put(z, layout.batch) for z in pair]
    reshard = layout.reshard if resharded else None
    _check(_value_and_gradients(*placed, form=form, reshard=reshard), _reference(*pair))


@pytest.mark.parametrize("shape", [(512, 2048), (2048, 512)])
@pytest.mark.parametrize("form", FORMS)
def test_large_sums_keep_their_digits(form, shape):
    pair = _embeddings(*shape)
    _check(_value_and_gradients(*pair, form=form), _reference(*pair))


def _per_device_loss(z_a, z_b):
    """Equation 1 as in the official code: on each device's rows, with explicit collectives."""
    mean = partial(jax.lax.pmean, axis_name="data")

    def standardize(z):
        centered = z - mean(z.mean(0, keepdims=True))
        return centered / jnp.sqrt(mean(jnp.square(centered).mean(0, keepdims=True)) + 1e-5)

    c = mean(jnp.matmul(standardize(z_a).T, standardize(z_b), precision="highest") / z_a.shape[0])
    on_diagonal = jnp.square(jnp.diagonal(c) - 1).sum()
    off_diagonal = jnp.square(c - jnp.diag(jnp.diagonal(c))).sum()
    return on_diagonal + WEIGHT * off_diagonal


@pytest.mark.parametrize("shape", BELOW_AND_ABOVE)
@pytest.mark.parametrize("form", FORMS)
def test_an_implementation_under_shard_map_agrees(form, shape):
    mesh = make_mesh()
    per_device = jax.shard_map(_per_device_loss, mesh=mesh, in_specs=P("data"), out_specs=P())
    placed = [jax.device_put(z, NamedSharding(mesh, P("data"))) for z in _embeddings(*shape)]
    value, gradients = jax.jit(jax.value_and_grad(per_device, argnums=(0, 1)))(*placed)
    actual = _value_and_gradients(*placed, form=form, reshard=Layout(mesh).reshard)
    _check(actual, (value, [np.asarray(g, np.float64) for g in gradients]))


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_operands_cost_what_the_docstring_says(form):
    pair = _embeddings(256, 512)
    actual = _value_and_gradients(*pair, form=form, operand_dtype=jnp.bfloat16)
    expected = _reference(*pair)
    _check(actual, expected, value=1e-5, gradient=1e-3)
    assert _distance(actual[1], expected[1]) > 1e-5, "nothing was rounded"


def test_auto_is_the_cheaper_form():
    pair = _embeddings(8, 64)
    text = jax.jit(partial(barlow_twins_loss, off_diagonal_weight=WEIGHT)).lower(*pair).as_text()
    assert "tensor<8x8xf32>" in text and "tensor<64x64xf32>" not in text


def test_loss_is_zero_at_identity_correlation():
    z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    np.testing.assert_allclose(barlow_twins_loss(z, z, off_diagonal_weight=1.0), 0, atol=1e-8)


def test_swapping_the_views_changes_nothing():
    z_a, z_b = _embeddings(16, 8)
    losses = [barlow_twins_loss(*pair, off_diagonal_weight=WEIGHT) for pair in ((z_a, z_b), (z_b, z_a))]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_scale_and_shift_of_a_feature_change_nothing():
    z_a, z_b = _embeddings(64, 8)
    moved = barlow_twins_loss(3 * z_a + 5, z_b, off_diagonal_weight=WEIGHT)
    np.testing.assert_allclose(moved, barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT), rtol=1e-4)


def test_a_large_mean_costs_no_accuracy():
    z_a, z_b = _embeddings(32, 8, mean=30.0)
    loss = barlow_twins_loss(0.01 * z_a, 0.01 * z_b, off_diagonal_weight=WEIGHT)
    np.testing.assert_allclose(loss, _reference(0.01 * z_a, 0.01 * z_b)[0], rtol=1e-3)


def test_a_constant_feature_gives_finite_loss_and_gradient():
    z_a, z_b = _embeddings(8, 3)
    z_a[:, 0] = z_b[:, 0] = 4.0
    loss, gradient = jax.value_and_grad(lambda z: barlow_twins_loss(z, z_b, off_diagonal_weight=WEIGHT))(z_a)
    assert np.isfinite(loss) and np.all(np.isfinite(gradient))


def test_bfloat16_embeddings_are_standardized_in_float32():
    z_a, z_b = (jnp.asarray(z, jnp.bfloat16) for z in _embeddings(64, 16))
    loss = barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, _reference(z_a, z_b)[0], rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_terms_are_those_of_the_matrix(form):
    z_a, z_b = _embeddings(50, 7)
    matrix = np.asarray(cross_correlation(z_a, z_b))
    terms = barlow_twins_terms(z_a, z_b, form=form)
    np.testing.assert_allclose(terms.diagonal_mean, np.diag(matrix).mean(), rtol=1e-6)
    np.testing.assert_allclose(terms.redundancy, (matrix**2).sum() - (np.diag(matrix) ** 2).sum(), rtol=1e-5)
    statistics, stds = standardized_embedding_statistics(z_a, z_b), np.stack([z_a.std(0), z_b.std(0)])
    np.testing.assert_allclose(statistics["embedding_std_min"], stds.min(), rtol=1e-5)
    np.testing.assert_allclose(statistics["embedding_std_mean"], stds.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "pattern"),
    [
        ((4, 3), (4, 2), r"\(4, 3\) and \(4, 2\)"),
        ((4,), (4,), r"two or more \[N, D\] arrays"),
        ((1, 3), (1, 3), "batch statistics need 2 rows"),
    ],
)
def test_wrong_shapes_are_named(shape_a, shape_b, pattern):
    with pytest.raises(ValueError, match=pattern):
        barlow_twins_loss(jnp.zeros(shape_a), jnp.zeros(shape_b), off_diagonal_weight=WEIGHT)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_spread_is_simsiams_figure_on_the_sphere_and_vanishes_on_one_vector(scale):
    """For rows of one length it is sqrt(D) times the std of normalized embeddings, at any scale."""
    z = np.random.default_rng(0).normal(size=(4096, 32)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    spread = standardized_embedding_statistics(scale * z, scale * z)["embedding_spread"]
    np.testing.assert_allclose(spread, np.sqrt(32) * z.std(axis=0).mean(), rtol=1e-5)
    assert abs(spread - 1) < 0.01
    one = np.tile(z[:1], (64, 1)) + 1e-4 * z[:64]
    assert standardized_embedding_statistics(scale * one, scale * one)["embedding_spread"] < 1e-3
