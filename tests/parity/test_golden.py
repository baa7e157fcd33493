"""Compares loss, optimizer and schedule with torch's stored results or, with `-m parity`, with live ones."""

from functools import partial
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.config.schema import Config, Train
from barlow_jax.objectives.barlow_twins import barlow_twins_loss
from barlow_jax.optim import optimizers
from barlow_jax.optim.lars import lars
from barlow_jax.optim.schedules import warmup_cosine

HERE = pathlib.Path(__file__).parent
inputs = types.SimpleNamespace(**runpy.run_path(str(HERE / "inputs.py")))
CASES = ("loss", "lars", "rates", "projector", "resnet50", "twins")


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("shape", inputs.LOSS_SHAPES)
def test_the_loss_and_both_gradients_are_the_official_ones(golden, shape, form):
    """Our loss is always float32."""
    data, key = golden("loss"), "{}x{}".format(*shape)
    loss = partial(barlow_twins_loss, off_diagonal_weight=inputs.OFF_DIAGONAL_WEIGHT, form=form)
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(*inputs.embeddings(*shape))
    np.testing.assert_allclose(value, data[f"{key}/loss"], rtol=1e-6)
    for view, gradient in zip("ab", gradients, strict=True):
        expected = data[f"{key}/gradient_{view}"]
        assert np.linalg.norm(gradient - expected) < 1e-6 * np.linalg.norm(expected), view


def _wide(rate):
    """Return a schedule in float64; optax would compute the int32 count of an optimizer in float32."""
    return lambda count: rate(count.astype(jnp.int64))


@pytest.mark.parametrize("weight_decay", inputs.WEIGHT_DECAYS)
def test_twenty_steps_of_lars_are_the_official_ones(golden, double, weight_decay):
    data = golden("lars")
    cosine = partial(
        warmup_cosine, warmup_steps=inputs.LARS_WARMUP, num_steps=inputs.LARS_STEPS, final_scale=0.001
    )
    rates = {group: _wide(cosine(peak=peak)) for group, peak in inputs.PEAKS.items()}
    optimizer = lars(rates, weight_decay=weight_decay)
    params = double({name: inputs.lars_start(name) for name in inputs.LARS_SHAPES})
    state = optimizer.init(params)
    for step in range(inputs.LARS_STEPS):
        gradients = double({name: inputs.lars_gradient(name, step) for name in params})
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for name, p in params.items():
            expected = data[f"{weight_decay:g}/{name}"][step]
            np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-15, err_msg=f"{name}, {step}")
    assert np.any(params["zero"]) and not np.any(params["zero_bias"])


def _learning_rates(dtype):
    config = Config(train=Train(num_epochs=inputs.EPOCHS, batch_size=inputs.BATCH_SIZE))
    steps = jnp.arange(inputs.EPOCHS * inputs.STEPS_PER_EPOCH, dtype=dtype)
    rates = optimizers.learning_rates(config, inputs.STEPS_PER_EPOCH)
    return {group: jax.vmap(rate)(steps) for group, rate in rates.items()}


def test_both_learning_rates_are_the_official_ones_at_every_step(golden):
    """Agrees in float32 to 2e-7 of the peak: at the cosine's end 1 + cos(x) cancels."""
    data = golden("rates")
    for group, rates in _learning_rates(jnp.int32).items():
        np.testing.assert_allclose(rates, data[group], rtol=0, atol=2e-7 * data[group].max(), err_msg=group)


def test_both_learning_rates_have_the_official_equation(golden, double):
    data = golden("rates")
    for group, rates in _learning_rates(jnp.int64).items():
        np.testing.assert_allclose(rates, data[group], rtol=1e-12, err_msg=group)


@pytest.mark.parametrize("case", CASES)
def test_a_fixture_names_its_versions(golden, case):
    data = golden(case)
    assert str(data["torch_version"]).split(".")[0].isdigit() and data["numpy_version"]


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_what_is_stored_is_what_torch_says(live, case):
    stored, now = (dict(np.load(folder / f"{case}.npz")) for folder in (HERE, live))
    assert stored.keys() == now.keys()
    for name, array in stored.items():
        if array.dtype.kind != "f":
            assert name.endswith("_version") or np.array_equal(array, now[name]), name
        elif not name.startswith("float32/"):  # which depends on the processor
            np.testing.assert_allclose(
                now[name], array, rtol=1e-9, atol=1e-9 * np.abs(array).max(), err_msg=name
            )
