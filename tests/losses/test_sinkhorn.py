"""Compares with the plain iteration on exp(scores / epsilon) in float64, as in the paper and its code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.sinkhorn import sinkhorn_codes

ROWS, QUEUE, PROTOTYPES = 32, 40, 9


def _scores(rows=ROWS, seed=0):
    """Return cosines that are largest for a single prototype."""
    scores = np.random.default_rng(seed).uniform(-0.6, 0.6, size=(rows, PROTOTYPES))
    scores[:, 2] += 0.3
    return scores.astype(np.float32)


def _definition(scores, epsilon, iterations):
    q = np.exp(scores.astype(np.float64).T / epsilon)  # [K, B]
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * len(q)
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return q.T * len(scores)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.03, 0.05, 1.0])
def test_codes_are_those_of_the_plain_iteration(epsilon, iterations, devices):
    """Agrees up to the float32 precision of scores / epsilon, which reach 30."""
    layout = Layout(make_mesh(devices))
    codes = jax.jit(lambda s: sinkhorn_codes(s, epsilon=epsilon, iterations=iterations))(
        jax.device_put(_scores(), layout.batch)
    )
    expected = _definition(_scores(), epsilon, iterations)
    np.testing.assert_allclose(codes, expected, rtol=5e-5, atol=1e-7)
    np.testing.assert_allclose(np.sum(codes, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("use_queue", [True, False])
def test_the_queue_takes_part_if_it_is_used(use_queue, devices):
    layout, queue = Layout(make_mesh(devices)), _scores(QUEUE, seed=1)
    compiled = jax.jit(lambda s, q, use: sinkhorn_codes(s, q, epsilon=0.05, iterations=3, use_queue=use))
    placed = (jax.device_put(x, layout.batch) for x in (_scores(), queue))
    together = np.concatenate([queue, _scores()]) if use_queue else _scores()
    expected = _definition(together, 0.05, 3)[-ROWS:]
    np.testing.assert_allclose(compiled(*placed, use_queue), expected, rtol=5e-5, atol=1e-7)


def test_many_iterations_use_all_prototypes_equally():
    codes = sinkhorn_codes(_scores(), epsilon=0.05, iterations=100)
    np.testing.assert_allclose(np.sum(codes, axis=0), ROWS / PROTOTYPES, rtol=1e-3)


@pytest.mark.parametrize("scale", [30.0, 1e6])
def test_scores_whose_exponentials_overflow_or_vanish_have_codes(scale):
    scores = scale * _scores()
    codes = sinkhorn_codes(scores, epsilon=0.05, iterations=3)
    assert np.all(np.isfinite(codes))
    np.testing.assert_allclose(np.sum(codes, axis=1), 1, rtol=1e-5)


def test_equal_images_have_uniform_codes():
    codes = sinkhorn_codes(jnp.tile(_scores()[:1], (8, 1)), epsilon=0.05, iterations=3)
    np.testing.assert_allclose(codes, 1 / PROTOTYPES, rtol=1e-5)


def test_codes_have_no_gradient():
    def loss(scores):
        return jnp.sum(sinkhorn_codes(scores, epsilon=0.05, iterations=3) ** 2)

    assert not np.any(jax.grad(loss)(_scores()))
