"""LARS and the schedule at the limits of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.optim.lars import lars
from barlow_jax.optim.schedules import warmup_cosine

CONSTANT = {name: lambda step: 0.5 for name in ("weights", "biases")}


@pytest.fixture(params=[False, True], ids=["official", "clipped"])
def optimizer(request):
    return lars(CONSTANT, trust_clip=request.param)


def _update(optimizer, kernel, gradient, steps=1):
    """Return the last update of a `[4, 3]` weight and a `[3]` bias after steps with a constant gradient."""
    params = {"kernel": jnp.full((4, 3), kernel, jnp.float32), "bias": jnp.zeros(3)}
    gradients = {
        "kernel": jnp.full((4, 3), gradient, jnp.float32),
        "bias": jnp.full(3, gradient, jnp.float32),
    }
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = jax.jit(optimizer.update)(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(np.asarray, updates)


@pytest.mark.parametrize("gradient", [0.0, 1e-45, 1e-30, 1.0, 1e18])
def test_zero_weights_take_the_plain_step(optimizer, gradient):
    """For |p| = 0, q is 1."""
    update = _update(optimizer, 0.0, gradient)
    np.testing.assert_allclose(update["kernel"], -0.5 * np.float32(gradient), rtol=1e-6, atol=1e-38)
    np.testing.assert_allclose(update["bias"], -0.5 * np.float32(gradient), rtol=1e-6, atol=1e-38)


def test_with_zero_gradients_only_weight_decay_acts():
    """Here d = wd p, so q d = trust p at any decay; the bias does not change."""
    update = _update(lars(CONSTANT, weight_decay=1e-6), 2.0, 0.0)
    np.testing.assert_allclose(update["kernel"], -0.5 * 0.001 * 2.0, rtol=1e-5)
    np.testing.assert_array_equal(update["bias"], 0)
    np.testing.assert_array_equal(_update(lars(CONSTANT, weight_decay=0.0), 2.0, 0.0)["kernel"], 0)


@pytest.mark.parametrize("gradient", [1e-17, 1e-6, 1.0, 1e6, 1e18])
def test_a_weight_moves_by_its_own_norm_at_any_size_of_the_gradient(gradient):
    """|q d| = trust |p| for norms of 1e-18 to 1e19."""
    update = _update(lars(CONSTANT, weight_decay=0.0), 2.0, gradient)
    np.testing.assert_allclose(update["kernel"], -0.5 * 0.001 * 2.0, rtol=1e-5)


def test_below_1e_19_the_gradients_norm_is_0_and_the_step_plain(optimizer):
    update = _update(lars(CONSTANT, weight_decay=0.0), 2.0, 1e-25)
    np.testing.assert_allclose(update["kernel"], -0.5e-25, rtol=1e-5)


@pytest.mark.parametrize("gradient", [1e20, 1e30, 3e37])
def test_above_1e19_the_gradients_norm_is_infinite_and_the_weight_stays(optimizer, gradient):
    """Weights stay finite after several steps; biases, which LARS does not adapt, follow the gradient."""
    update = _update(optimizer, 2.0, gradient, steps=3)
    np.testing.assert_array_equal(update["kernel"], 0)
    np.testing.assert_allclose(update["bias"], -0.5 * 2.71 * np.float32(gradient), rtol=1e-5)


def test_a_huge_weight_is_not_moved_to_nan():
    update = _update(lars(CONSTANT), 1e17, 1.0)
    np.testing.assert_allclose(update["kernel"], -0.5 * 0.001 * 1e17, rtol=1e-5)


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_a_invalid_gradient_is_propagated(optimizer, invalid):
    update = _update(optimizer, 2.0, invalid)
    assert np.all(~np.isfinite(update["kernel"])) and np.all(~np.isfinite(update["bias"]))


@pytest.mark.parametrize("warmup", [0, 1, 10])
@pytest.mark.parametrize("num_steps", [0, 1, 10])
@pytest.mark.parametrize("final_scale", [0.0, 0.001])
def test_the_rate_stays_between_0_and_its_peak_at_any_step(warmup, num_steps, final_scale):
    """Includes runs without steps or with only a warmup, and steps past the end."""
    rate = jax.jit(warmup_cosine(peak=1.6, warmup_steps=warmup, num_steps=num_steps, final_scale=final_scale))
    steps = [0, 1, 5, 9, 10, 11, 10**6, 2**31 - 1]
    rates = np.array([rate(jnp.int32(step)) for step in steps])
    assert np.all(np.isfinite(rates)) and rates.min() >= 0 and rates.max() <= 1.6 * (1 + 1e-6)
    np.testing.assert_allclose(rates[-2:], 1.6 * final_scale, rtol=1e-5, atol=1e-7)
