"""Compares with the official update, written out in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.optim.lars import lars
from barlow_jax.optim.schedules import warmup_cosine

RATES = {
    "weights": warmup_cosine(peak=1.6, warmup_steps=4, num_steps=20, final_scale=0.001),
    "biases": warmup_cosine(peak=0.0384, warmup_steps=4, num_steps=20, final_scale=0.001),
}


@pytest.fixture(autouse=True)
def _float64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def _start():
    rng = np.random.default_rng(0)
    shapes = {"conv": (3, 3, 4, 5), "dense": (6, 7), "scale": (5,), "bias": (7,), "zero": (4, 4)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    params["zero"] = np.zeros((4, 4))
    gradients = [{name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(20)]
    for step in range(0, 20, 5):
        gradients[step]["dense"] = np.zeros((6, 7))
    return params, gradients


def _official(params, gradients, *, momentum=0.9, weight_decay=1e-6, trust=0.001, clip=False):
    """Apply the equations of the module's docstring, one parameter at a time."""
    params = {name: value.copy() for name, value in params.items()}
    momenta = {name: np.zeros_like(value) for name, value in params.items()}
    for step, gradient in enumerate(gradients):
        for name, p in params.items():
            d = gradient[name]
            rate = float(RATES["biases" if p.ndim == 1 else "weights"](jnp.int32(step)))
            if p.ndim != 1:
                d = d + weight_decay * p
                p_norm, d_norm = np.sqrt((p**2).sum()), np.sqrt((d**2).sum())
                if p_norm != 0 and d_norm != 0:
                    q = trust * p_norm / d_norm
                    d = d * (min(q / max(rate, 1e-300), 1.0) if clip else q)
            momenta[name] = momentum * momenta[name] + d
            params[name] = p - rate * momenta[name]
    return params


def _ours(optimizer, params, gradients):
    params = jax.tree.map(jnp.asarray, params)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("weight_decay", [1e-6, 1e-2])
def test_twenty_steps_are_the_official_update(weight_decay):
    params, gradients = _start()
    expected = _official(params, gradients, weight_decay=weight_decay)
    actual = _ours(lars(RATES, weight_decay=weight_decay), params, gradients)
    for name in params:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_the_clipped_ratio_is_never_above_the_plain_step():
    params, gradients = _start()
    expected = _official(params, gradients, trust=0.02, clip=True)
    actual = _ours(lars(RATES, trust_coefficient=0.02, trust_clip=True), params, gradients)
    for name in params:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-6, atol=1e-12, err_msg=name)


def test_optax_lars_is_another_update():
    """The reason for our own composition: optax applies the rate inside the momentum."""
    params, gradients = _start()
    expected = _official(params, gradients)

    def mask(tree):
        return jax.tree.map(lambda p: p.ndim != 1, tree)

    other = optax.lars(
        RATES["weights"], 1e-6, weight_decay_mask=mask, trust_ratio_mask=mask, trust_coefficient=0.001
    )
    assert np.abs(_ours(other, params, gradients)["conv"] - expected["conv"]).max() > 1e-4


def test_biases_are_neither_decayed_nor_adapted():
    params = {"bias": np.array([2.0, 3.0])}
    constant = {name: lambda step: 0.5 for name in ("weights", "biases")}
    actual = _ours(lars(constant, weight_decay=10.0), params, [{"bias": np.array([1.0, -1.0])}])
    np.testing.assert_allclose(actual["bias"], [1.5, 3.5])
