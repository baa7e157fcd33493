"""Compares the supervised loss with scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import log_loss

from barlow_jax.config import schema as config_lib
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import LossContext, Outputs


def test_the_loss_is_scikit_learns_log_loss():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 5, 40)
    objective = make_objective(config_lib.Objective(name="classification", scale=2.0))
    outputs = {"a": Outputs(None, logits=jnp.asarray(logits))}
    loss, _, metrics = objective.loss(outputs, {}, LossContext(jnp.asarray(labels)))
    probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float64)))
    np.testing.assert_allclose(loss, 2 * log_loss(labels, probabilities, labels=range(5)), rtol=1e-6)
    assert metrics["top1"] == np.mean(logits.argmax(1) == labels)
