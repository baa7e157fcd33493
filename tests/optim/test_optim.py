"""Compares SGD and AdamW with their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config.schema import Config, Optim
from barlow_jax.optim import optimizers

RATES = {"weights": lambda step: 0.1 + 0.01 * step, "biases": lambda step: 0.02}


def _run(config, params, gradients):
    optimizer = optimizers.make_optimizer(config, RATES)
    params = jax.tree.map(jnp.asarray, params)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def _start():
    rng = np.random.default_rng(0)
    params = {
        "kernel": rng.normal(size=(3, 4)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
    }
    return params, [
        {k: rng.normal(size=v.shape).astype(np.float32) for k, v in params.items()} for _ in range(5)
    ]


def test_sgd_decays_only_weights_and_applies_the_rate_after_the_momentum():
    params, gradients = _start()
    actual = _run(Optim(name="sgd", momentum=0.9, weight_decay=0.1), params, gradients)
    for name, decay in (("kernel", 0.1), ("bias", 0.0)):
        p, m = params[name].astype(float), 0.0
        for step, gradient in enumerate(gradients):
            m = 0.9 * m + gradient[name] + decay * p
            p = p - RATES["weights" if name == "kernel" else "biases"](step) * m
        np.testing.assert_allclose(actual[name], p, rtol=1e-5)


def test_adamw_decouples_the_decay_of_weights():
    params, gradients = _start()
    actual = _run(Optim(name="adamw", momentum=0.9, weight_decay=0.1), params, gradients)
    for name, decay in (("kernel", 0.1), ("bias", 0.0)):
        p, m, v = params[name].astype(float), 0.0, 0.0
        for step, gradient in enumerate(gradients):
            m, v = 0.9 * m + 0.1 * gradient[name], 0.999 * v + 0.001 * gradient[name] ** 2
            update = (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
            p = p - RATES["weights" if name == "kernel" else "biases"](step) * (update + decay * p)
        np.testing.assert_allclose(actual[name], p, rtol=1e-4, atol=1e-6)


def test_biases_default_to_the_rate_of_weights():
    rates = optimizers.learning_rates(Config(optim=Optim(bias_learning_rate=None)), steps_per_epoch=10)
    assert rates["biases"](150) == rates["weights"](150)
