"""Compares SGD and AdamW with their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config.schema import Config, Finetune, Optim, Train
from barlow_jax.optim import optimizers
from barlow_jax.optim.lars import lars

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
    actual = _run(Optim(name="sgd", momentum=0.8, weight_decay=0.1), params, gradients)
    for name, decay in (("kernel", 0.1), ("bias", 0.0)):
        p, m = params[name].astype(float), 0.0
        for step, gradient in enumerate(gradients):
            m = 0.8 * m + gradient[name] + decay * p
            p = p - RATES["weights" if name == "kernel" else "biases"](step) * m
        np.testing.assert_allclose(actual[name], p, rtol=1e-5)


def test_adamw_decouples_the_decay_of_weights():
    params, gradients = _start()
    actual = _run(Optim(name="adamw", momentum=0.8, weight_decay=0.1), params, gradients)
    for name, decay in (("kernel", 0.1), ("bias", 0.0)):
        p, m, v = params[name].astype(float), 0.0, 0.0
        for step, gradient in enumerate(gradients):
            m, v = 0.8 * m + 0.2 * gradient[name], 0.999 * v + 0.001 * gradient[name] ** 2
            update = (m / (1 - 0.8 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
            p = p - RATES["weights" if name == "kernel" else "biases"](step) * (update + decay * p)
        np.testing.assert_allclose(actual[name], p, rtol=1e-4, atol=1e-6)


def test_biases_default_to_the_rate_of_weights():
    config = Config(optim=Optim(learning_rate=0.7, bias_learning_rate=None))
    rates = optimizers.learning_rates(config, steps_per_epoch=10)
    assert rates["biases"](150) == rates["weights"](150)


def test_the_schedule_is_that_of_the_config():
    """A warm-up of 5.6 steps is rounded to 6."""
    optim = Optim(learning_rate=0.4, warmup_epochs=0.56, final_scale=0.25)
    rates = optimizers.learning_rates(
        Config(optim=optim, train=Train(batch_size=512, num_epochs=2.0)), steps_per_epoch=10
    )
    np.testing.assert_allclose([rates["weights"](step) for step in (3, 6, 20)], [0.4, 0.8, 0.2], rtol=1e-6)


def test_lars_has_the_settings_of_the_config():
    settings = {"momentum": 0.7, "weight_decay": 0.1, "trust_coefficient": 0.02, "trust_clip": True}
    params, gradients = _start()
    actual = _run(Optim(name="lars", **settings), params, gradients)
    optimizer = lars(RATES, **settings)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(np.testing.assert_array_equal, actual, params)


def test_fine_tuning_has_the_settings_of_the_config():
    """SGD in NumPy, all parameters decayed, two epochs of two steps."""
    config = Finetune(
        num_epochs=2,
        encoder_learning_rate=0.3,
        head_learning_rate=0.7,
        momentum=0.6,
        weight_decay=0.05,
        schedule="steps",
        milestones=(0.5,),
        decay=0.1,
    )
    optimizer = optimizers.make_finetune_optimizer(config, steps_per_epoch=2)
    params = {name: {"w": jnp.ones(2)} for name in ("encoder", "classifier")}
    state, expected = optimizer.init(params), {"encoder": (0.3, 1.0, 0.0), "classifier": (0.7, 1.0, 0.0)}
    for step in range(4):
        gradients = jax.tree.map(lambda p, step=step: p * (step + 1), params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for name, (rate, p, m) in expected.items():
            m = 0.6 * m + p * (step + 1) + 0.05 * p
            expected[name] = rate, p - rate * (0.1 if step >= 2 else 1) * m, m
            np.testing.assert_allclose(params[name]["w"], expected[name][1], rtol=1e-4)
