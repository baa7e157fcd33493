"""Updates of continued pretraining against the equations of the module."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config.training import Adapt
from barlow_jax.networks.encoders import layer_depths
from barlow_jax.optim.adaptation import adapt


def _run(config, updates, num_steps=20, rate=lambda t: 0.5):
    """Apply an update of 1 everywhere in each step; return the parameters after each."""
    params = {
        "encoder": {"conv": jnp.array([3.0]), "blocks": {0: jnp.array([5.0])}},
        "projector": jnp.zeros(1),
    }
    chain = optax.chain(optax.identity(), adapt(config, layer_depths, rate, num_steps))
    state, history = chain.init(params), [params]
    for _ in range(updates):
        new, state = chain.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, new)
        history.append(params)
    return history


def test_the_encoder_is_frozen_at_first_and_layers_have_their_rates():
    config = Adapt(freeze=0.2, encoder_rate=0.1, layer_decay=0.5, anchor="none")
    history = _run(config, 20)
    assert [float(params["projector"][0]) for params in history] == list(range(21))
    factors = np.clip((np.arange(20) - 4) / 4, 0, 1)
    for layer, start, rate in (("conv", 3.0, 0.05), ("blocks", 5.0, 0.1)):
        values = [jax.tree.leaves(params["encoder"][layer])[0].item() for params in history]
        assert values[:5] == [start] * 5  # exactly
        np.testing.assert_allclose(np.diff(values), rate * factors, atol=1e-6)


def test_the_anchor_pulls_towards_the_start():
    config = Adapt(freeze=0.0, encoder_rate=1.0, layer_decay=1.0, anchor="weights", anchor_weight=0.2)
    value = 0.0
    for params in _run(config, 30)[1:]:
        value += 1 - 0.2 * 0.5 * value
        np.testing.assert_allclose(params["encoder"]["conv"][0] - 3.0, value, rtol=1e-5)
    assert abs(value - 10) < 0.5  # where update and pull are equal


def test_an_offset_moves_the_schedule_of_an_extended_run():
    config, params = Adapt(freeze=0.2, encoder_rate=1.0, anchor="none"), {"encoder": {"conv": jnp.zeros(1)}}
    transformation = adapt(config, layer_depths, lambda t: 1.0, 20, offset=6)
    updates, _ = transformation.update(
        {"encoder": {"conv": jnp.ones(1)}}, transformation.init(params), params
    )
    assert float(updates["encoder"]["conv"][0]) == 0.5
