"""Compares with equation 4 of Chen and He 2021 in float64 NumPy."""

import functools

import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Simsiam
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.simsiam import simsiam_loss
from barlow_jax.types import Outputs

ROWS, WIDTH = 32, 8
PLAIN = Simsiam()
REGULARIZED = Simsiam(variance_weight=1.5, covariance_weight=0.2)
BOTH = pytest.mark.parametrize("settings", [PLAIN, REGULARIZED], ids=["plain", "regularized"])


@functools.cache
def _objective(settings=PLAIN):
    return make_objective(config_lib.Objective(name="simsiam", scale=0.5, simsiam=settings))


def _outputs():
    p_a, p_b, z_a, z_b = np.random.default_rng(0).normal(size=(4, ROWS, WIDTH)).astype(np.float32)
    return {"a": Outputs(None, z_a / 2, p_a + z_b), "b": Outputs(None, z_b / 2, p_b)}


def _cosine(x, y):
    return np.mean(np.sum(x * y, axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))


def _definition(outputs, stopped, settings=PLAIN):
    value = -(_cosine(outputs["a"].prediction, stopped["b"]) + _cosine(outputs["b"].prediction, stopped["a"]))
    value /= 2
    for name in "ab":
        covariance = np.cov(outputs[name].embedding.astype(np.float64), rowvar=False)
        off = covariance - np.diag(np.diag(covariance))
        value += settings.variance_weight * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
        value += settings.covariance_weight * np.sum(off**2) / WIDTH
    return 0.5 * value


@BOTH
def test_value_and_gradients_are_those_of_the_definition(settings):
    outputs = _outputs()
    stopped = {name: outputs[name].embedding.astype(np.float64) for name in "ab"}
    value, gradients, _, metrics = loss_reference.run(_objective(settings), outputs)
    np.testing.assert_allclose([value, metrics["loss"]], _definition(outputs, stopped, settings), rtol=2e-6)
    loss_reference.assert_slopes(lambda o: _definition(o, stopped, settings), outputs, gradients)
    np.testing.assert_allclose(metrics["prediction_cosine"], -2 * _definition(outputs, stopped), rtol=1e-5)
    assert settings is REGULARIZED or not np.any(gradients["a"].embedding)


@BOTH
def test_one_device_and_eight_agree(settings):
    loss_reference.assert_one_device_matches_eight(_objective(settings), _outputs())


@pytest.mark.parametrize("level", [0.0, 1.0, 1e30])
def test_a_collapsed_batch_is_finite_and_detected(level):
    constant = np.full((ROWS, WIDTH), level, np.float32)
    outputs = {name: Outputs(None, constant, constant) for name in "ab"}
    value, gradients, _, metrics = loss_reference.run(_objective(), outputs)
    np.testing.assert_allclose(value, -0.5 if level else 0, rtol=1e-6)
    loss_reference.assert_finite(gradients)
    assert metrics["embedding_spread"] == metrics["embedding_std_mean"] == 0


@pytest.mark.parametrize("scale", [1e-8, 1e25])
def test_lengths_change_nothing(scale):
    z = np.random.default_rng(0).normal(size=(4, ROWS, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(simsiam_loss(*(np.float32(scale) * z)), simsiam_loss(*z), rtol=1e-5)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(4, 2\), \(4, 3\)"):
        simsiam_loss(*[jnp.zeros((4, 3))] * 3, jnp.zeros((4, 2)))


def test_it_has_no_target():
    assert _objective().target is None
