"""Compares the contrastive cross-entropy with SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax

from barlow_jax.losses.contrastive import info_nce, similarities


def _logits():
    rng = np.random.default_rng(0)
    positive, first, second = rng.normal(size=12), rng.normal(size=(12, 7)), rng.normal(size=(12, 4))
    first[:, 2] = -np.inf
    return [x.astype(np.float32) for x in (positive, first, second)]


def test_the_loss_is_scipys_log_softmax_of_all_blocks():
    positive, *others = _logits()
    actual = info_nce(positive, *others)
    together = np.concatenate([positive[:, None], *others], axis=1).astype(np.float64)
    np.testing.assert_allclose(actual.loss, -np.mean(log_softmax(together, axis=1)[:, 0]), rtol=1e-6)
    assert actual.accuracy == np.mean(together.argmax(axis=1) == 0)


def test_a_positive_that_has_won_by_far_keeps_its_digits():
    loss = info_nce(jnp.array([60.0]), jnp.array([[10.0, 10.0]])).loss
    np.testing.assert_allclose(loss, 2 * np.exp(-50), rtol=1e-5)


def test_any_finite_logits_give_a_finite_loss_and_gradient():
    for logit in (1e4, 1e30, -1e30):
        value, gradients = jax.value_and_grad(lambda p, n: info_nce(p, n).loss, argnums=(0, 1))(
            jnp.array([0.0, logit]), jnp.array([[logit, 1.0], [0.0, -logit]])
        )
        assert np.isfinite(value) and all(np.all(np.isfinite(g)) for g in gradients)


def test_a_tie_is_not_won():
    assert info_nce(jnp.ones(3), jnp.ones((3, 2))).accuracy == 0


def test_products_are_numpys_and_bfloat16_rounds_only_the_operands():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 40)).astype(np.float32)
    np.testing.assert_allclose(similarities(x, y), x.astype(np.float64) @ y.T.astype(np.float64), atol=1e-5)
    low = [np.asarray(jnp.bfloat16(z), np.float64) for z in (x, y)]
    np.testing.assert_allclose(similarities(x, y, jnp.bfloat16), low[0] @ low[1].T, atol=1e-4)
