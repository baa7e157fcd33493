"""Compares with equation 2 of Grill et al. 2020 in float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Byol
from barlow_jax.objectives.byol import byol_loss, cosine_momentum
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH = 32, 8
PLAIN = Byol()
REGULARIZED = Byol(variance_weight=1.5, covariance_weight=0.2)


@functools.cache
def _objective(settings=PLAIN, **run_info):
    return make_objective(config_lib.Objective(name="byol", scale=0.5, byol=settings), RunInfo(**run_info))


def _arrays(seed, scale=1.0):
    first, noise = np.random.default_rng(seed).normal(size=(2, ROWS, WIDTH))
    return [np.float32(scale * z) for z in (first, first + 0.5 * noise)]


def _outputs(predictor=True):
    predictions = _arrays(1) if predictor else [None, None]
    return {n: Outputs(None, z, p) for n, z, p in zip("ab", _arrays(0, 0.5), predictions, strict=True)}


TARGETS = {n: Outputs(None, z) for n, z in zip("ab", _arrays(2), strict=True)}
CONTEXT = loss_reference.loss_context(ROWS, targets=TARGETS)


def _cosines(x, y):
    return np.sum(x * y, axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def _definition(outputs, targets, settings=PLAIN):
    """Equation 2; without a predictor the embedding is the prediction."""
    a, b = ((o.embedding if o.prediction is None else o.prediction) for o in (outputs["a"], outputs["b"]))
    value = np.mean(2 - 2 * _cosines(a, targets["b"])) + np.mean(2 - 2 * _cosines(b, targets["a"]))
    for name in "ab":
        covariance = np.cov(outputs[name].embedding.astype(np.float64), rowvar=False)
        off = covariance - np.diag(np.diag(covariance))
        value += settings.variance_weight * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
        value += settings.covariance_weight * np.sum(off**2) / WIDTH
    return 0.5 * value


FIXED = {name: TARGETS[name].embedding.astype(np.float64) for name in "ab"}


@pytest.mark.parametrize("predictor", [True, False])
@pytest.mark.parametrize("settings", [PLAIN, REGULARIZED], ids=["plain", "regularized"])
def test_value_and_gradients_are_those_of_the_definition(settings, predictor):
    outputs = _outputs(predictor)
    value, gradients, _, metrics = loss_reference.run(_objective(settings), outputs, context=CONTEXT)
    np.testing.assert_allclose([value, metrics["loss"]], _definition(outputs, FIXED, settings), rtol=2e-6)
    loss_reference.assert_slopes(lambda o: _definition(o, FIXED, settings), outputs, gradients)
    distance = 2 * _definition(outputs, FIXED)
    np.testing.assert_allclose(metrics["prediction_cosine"], 1 - distance / 4, atol=1e-6)


@pytest.mark.parametrize("settings", [PLAIN, REGULARIZED], ids=["plain", "regularized"])
def test_one_device_and_eight_agree(settings):
    loss_reference.assert_one_device_matches_eight(_objective(settings), _outputs(), context=CONTEXT)


def test_without_momentum_the_target_is_the_network_itself_behind_a_stop_gradient():
    objective, outputs = _objective(Byol(target_momentum=0.0)), _outputs()
    assert objective.target is None
    value, gradients, _, _ = loss_reference.run(objective, outputs)
    itself = {name: outputs[name].embedding.astype(np.float64) for name in "ab"}
    np.testing.assert_allclose(value, _definition(outputs, itself), rtol=2e-6)
    loss_reference.assert_slopes(lambda o: _definition(o, itself), outputs, gradients)
    assert not np.any(gradients["a"].embedding) and np.any(gradients["a"].prediction)


def test_the_momentum_is_the_papers_cosine_and_one_at_the_end():
    target = _objective(Byol(target_momentum=0.9), num_steps=80).target
    assert target.views == ("a", "b")
    for step in (0, 1, 40, 79, 80):
        expected = 1 - (1 - 0.9) * (np.cos(np.pi * step / 80) + 1) / 2
        np.testing.assert_allclose(target.momentum(jnp.int32(step)), expected, rtol=1e-6)
    assert target.momentum(jnp.int32(80)) == target.momentum(jnp.int32(90)) == 1


@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_the_momentum_starts_at_the_given_value(start):
    assert cosine_momentum(start, 7)(jnp.int32(0)) == np.float32(start)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e30])
def test_a_collapsed_batch_is_finite_and_detected(level):
    constant = np.full((ROWS, WIDTH), level, np.float32)
    outputs = {name: Outputs(None, constant, constant) for name in "ab"}
    value, gradients, _, metrics = loss_reference.run(_objective(Byol(target_momentum=0.0)), outputs)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    loss_reference.assert_finite(gradients)
    assert metrics["embedding_spread"] == metrics["embedding_std_mean"] == 0


@pytest.mark.parametrize("scale", [1e-8, 1e25])
def test_lengths_change_nothing(scale):
    prediction, target = scale * _arrays(0)[0], _arrays(1)[1]
    np.testing.assert_allclose(
        byol_loss(prediction, target), byol_loss(prediction / scale, target), rtol=1e-6
    )


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        byol_loss(jnp.zeros((4, 3)), jnp.zeros((4, 2)))


def _trained(settings, steps=1000):
    """Return a linear layer's (spread, std) of embeddings before and after gradient descent."""
    rng = np.random.default_rng(0)
    objective, images = _objective(settings), rng.normal(size=(ROWS, WIDTH))
    views = jnp.float32(images + 0.5 * rng.normal(size=(2, ROWS, WIDTH)))

    def loss(weights):
        z = {name: Outputs(None, x @ weights[1:] + weights[:1]) for name, x in zip("ab", views, strict=True)}
        value, _, metrics = objective.loss(z, {}, loss_reference.loss_context(ROWS))
        return value, (metrics["embedding_spread"], metrics["embedding_std_mean"])

    def descend(weights, _):
        gradient, metrics = jax.grad(loss, has_aux=True)(weights)
        return weights - 0.3 * gradient, metrics

    start = jnp.float32(0.3 * rng.normal(size=(WIDTH + 1, WIDTH)))
    spreads, stds = jax.jit(lambda w: jax.lax.scan(descend, w, length=steps)[1])(start)
    return (spreads[0], stds[0]), (spreads[-1], stds[-1])


def test_without_predictor_and_average_it_collapses_unless_variance_has_a_weight():
    """Table 4 of VICReg adds that term; the metrics distinguish both cases."""
    start, end = _trained(Byol(target_momentum=0.0))
    assert start[0] > 0.8 and max(end) < 0.1
    _, end = _trained(Byol(target_momentum=0.0, variance_weight=1.0))
    assert end[0] > 0.4 and end[1] > 1
