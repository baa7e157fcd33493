"""Compares with equation 6 of the paper, written out in float64 NumPy with its gradient."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Vicreg
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.vicreg import vicreg_loss, vicreg_terms
from barlow_jax.types import LossContext, Outputs, RunInfo

FORMS = ("direct", "gram")
SHAPES = ((32, 56), (56, 32))


def _embeddings(rows, width, seed=0):
    """Return embeddings of std 0.2 to 2, so that half of the hinges are open, and non-zero mean."""
    first, noise = np.random.default_rng(seed).normal(size=(2, rows, width)) * np.linspace(0.2, 2, width)
    return (first + 1).astype(np.float32), (first + 0.5 * noise - 1).astype(np.float32)


def _reference(z_a, z_b, weights=(25, 25, 1), factor=0.5, gamma=1.0, epsilon=1e-4):
    """Return lambda s + mu f sum_views v + nu sum_views c and its gradients."""
    lambda_, mu, nu = weights
    pair = [np.asarray(z, np.float64) for z in (z_a, z_b)]
    rows, width = pair[0].shape
    difference = pair[0] - pair[1]
    loss, gradients = lambda_ * np.mean(difference**2), []
    for z, sign in zip(pair, (1, -1), strict=True):
        centered = z - z.mean(0)
        c = centered.T @ centered / (rows - 1)
        std = np.sqrt(np.diag(c) + epsilon)
        loss += mu * factor * np.mean(np.maximum(0, gamma - std))
        loss += nu * (np.sum(c**2) - np.sum(np.diag(c) ** 2)) / width
        # Gradient with respect to C: of the hinge on the diagonal, of the energy off it.
        d_c = np.diag(np.where(std < gamma, -mu * factor / (2 * std * width), 0.0))
        d_c += nu * 2 * (c - np.diag(np.diag(c))) / width
        gradients.append(sign * 2 * lambda_ * difference / difference.size + 2 * centered @ d_c / (rows - 1))
    return loss, gradients


def _value_and_gradients(pair, **kwargs):
    return jax.jit(jax.value_and_grad(partial(vicreg_loss, **kwargs), argnums=(0, 1)))(*pair)


def _check(actual, expected, value=1e-6, gradient=2e-6):
    np.testing.assert_allclose(actual[0], expected[0], rtol=value)
    for a, e in zip(actual[1], expected[1], strict=True):
        assert np.linalg.norm(a - e) < gradient * np.linalg.norm(e)


def test_the_reference_has_its_own_gradients():
    pair = [np.float64(z) for z in _embeddings(8, 6)]
    _, gradients = _reference(*pair)
    for view, row, feature in [(0, 0, 0), (0, 3, 5), (1, 7, 2), (1, 2, 1)]:
        moved = [[z.copy() for z in pair] for _ in range(2)]
        for views, step in zip(moved, (1e-6, -1e-6), strict=True):
            views[view][row, feature] += step
        slope = (_reference(*moved[0])[0] - _reference(*moved[1])[0]) / 2e-6
        np.testing.assert_allclose(gradients[view][row, feature], slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("resharded", [True, False])
def test_it_is_equation_6_of_the_global_batch(devices, shape, form, resharded):
    layout, pair = Layout(make_mesh(devices)), _embeddings(*shape)
    placed = [jax.device_put(z, layout.batch) for z in pair]
    reshard = layout.reshard if resharded else None
    _check(_value_and_gradients(placed, form=form, reshard=reshard), _reference(*pair))


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        ({"variance_factor": "paper"}, {"factor": 1.0}),
        (
            {"invariance_weight": 1.0, "variance_weight": 2.0, "covariance_weight": 3.0},
            {"weights": (1, 2, 3)},
        ),
        ({"target_std": 1.5, "epsilon": 1e-2}, {"gamma": 1.5, "epsilon": 1e-2}),
        ({"variance_weight": 0.0}, {"weights": (25, 0, 1)}),
    ],
)
def test_each_setting_has_its_meaning_in_the_equation(arguments, reference):
    pair = _embeddings(24, 16)
    _check(_value_and_gradients(pair, **arguments), _reference(*pair, **reference))


def test_the_paper_s_variance_terms_count_twice_the_code_s():
    code, paper = (
        vicreg_terms(*_embeddings(24, 16), Vicreg(variance_factor=factor)) for factor in ("code", "paper")
    )
    assert paper.variance == 2 * code.variance > 0
    assert (paper.invariance, paper.covariance) == (code.invariance, code.covariance)


def test_views_and_rows_have_no_order():
    z_a, z_b = _embeddings(24, 16)
    order = np.random.default_rng(0).permutation(24)
    expected = vicreg_loss(z_a, z_b)
    np.testing.assert_allclose(vicreg_loss(z_b, z_a), expected, rtol=1e-6)
    np.testing.assert_allclose(vicreg_loss(z_a[order], z_b[order]), expected, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e15])
def test_constant_embeddings_have_the_largest_variance_term_and_no_gradient(value):
    z = jnp.full((16, 12), value)
    loss, gradients = _value_and_gradients((z, z))
    np.testing.assert_allclose(loss, 25 * (1 - 1e-4**0.5), rtol=1e-6)
    assert not np.any(gradients)


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e5, 1e8])
@pytest.mark.parametrize("form", FORMS)
def test_values_of_any_size_keep_their_loss(scale, form):
    pair = [np.float32(scale) * z for z in _embeddings(8, 48)]  # gram subtracts little here
    loss, gradients = _value_and_gradients(pair, form=form)
    np.testing.assert_allclose(loss, _reference(*pair)[0], rtol=1e-6)
    assert np.all(np.isfinite(gradients))


def test_half_precision_embeddings_are_read_in_float32():
    pair = [jnp.asarray(z, jnp.bfloat16) for z in _embeddings(24, 16)]
    loss = vicreg_loss(*pair)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, _reference(*map(np.float32, pair))[0], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_operands_affect_only_the_covariances(form):
    pair = _embeddings(64, 96)
    exact, rounded = (
        vicreg_terms(*pair, Vicreg(), form=form, operand_dtype=d) for d in (jnp.float32, jnp.bfloat16)
    )
    assert (exact.invariance, exact.variance) == (rounded.invariance, rounded.variance)
    np.testing.assert_allclose(rounded.covariance, exact.covariance, rtol=1e-3)
    assert rounded.covariance != exact.covariance


def test_the_objective_weighs_its_terms_and_reports_them():
    settings = Vicreg(
        invariance_weight=2.0,
        variance_weight=3.0,
        covariance_weight=4.0,
        variance_factor="paper",
        target_std=0.8,
        epsilon=0.01,
    )
    config = config_lib.Objective(name="vicreg", vicreg=settings, scale=0.5)
    objective = make_objective(config, RunInfo(width=16, batch_size=24))
    z_a, z_b = _embeddings(24, 16)
    outputs = {"a": Outputs(None, z_a), "b": Outputs(None, z_b)}
    value, memory, metrics = objective.loss(outputs, {}, LossContext(jnp.zeros(24, jnp.int32)))
    expected = _reference(z_a, z_b, (2, 3, 4), factor=1.0, gamma=0.8, epsilon=0.01)[0]
    np.testing.assert_allclose(value, 0.5 * expected, rtol=1e-6)
    weighed = 2 * metrics["invariance"] + 3 * metrics["variance"] + 4 * metrics["covariance"]
    np.testing.assert_allclose(weighed, 2 * value, rtol=1e-6)
    matrices = np.stack([np.cov(z, rowvar=False) for z in (z_a, z_b)])[:, ~np.eye(16, dtype=bool)]
    np.testing.assert_allclose(metrics["covariance_rms"], np.sqrt(np.mean(matrices**2)), rtol=1e-5)
    np.testing.assert_allclose(
        metrics["embedding_std_min"], min(z_a.std(0).min(), z_b.std(0).min()), rtol=1e-5
    )
    assert memory == {} and metrics["loss"] == value


def test_the_objective_is_the_same_on_eight_devices(devices):
    """Uses the form of the config and the embedding layout of the mesh."""
    config = dataclasses.replace(config_lib.Objective(), name="vicreg")
    layout, (z_a, z_b) = Layout(make_mesh(devices)), _embeddings(32, 64)
    objective = make_objective(config, RunInfo(width=64, batch_size=32, reshard=layout.reshard))

    def loss(z_a, z_b):
        return objective.loss({"a": Outputs(None, z_a), "b": Outputs(None, z_b)}, {}, None)[0]

    placed = [jax.device_put(z, layout.batch) for z in (z_a, z_b)]
    _check(jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*placed), _reference(z_a, z_b))


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4,), (4,)), ((1, 3), (1, 3))])
def test_wrong_shapes_are_named(shapes):
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        vicreg_loss(*map(jnp.zeros, shapes))
