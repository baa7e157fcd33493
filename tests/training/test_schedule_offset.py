"""Schedules of the objective in an extended run, with a network of one weight."""

import jax
import jax.numpy as jnp
import optax
import pytest

from barlow_jax.training.step import StepParts, init_state, train_step
from barlow_jax.types import Batch, Objective, Outputs, Target


class OneWeight:
    """Network whose representation of an image is the image times the weight."""

    def init(self, key):
        return {"encoder": jnp.float32(2)}, {}

    def apply(self, params, batch_stats, views, grouping):
        return {name: Outputs(params["encoder"] * rows) for name, rows in views.items()}, batch_stats

    def prototypes(self, params):
        return None

    def select(self, tree):
        return tree

    @property
    def target_network(self):
        return self


def test_target_momentum_and_loss_see_the_schedules_step():
    def loss(outputs, memory, context):
        value = jnp.mean(outputs["a"].representation)
        return value, memory, {"loss": value, "schedule_step": context.step}

    optimizer = optax.chain(optax.trace(0.0), optax.scale_by_schedule(lambda step: -1.0))
    objective = Objective(loss, target=Target(lambda step: step / 10, ("a",)))
    parts = StepParts(OneWeight(), objective, optimizer, normalize=dict, schedule_offset=7)
    state = init_state(jax.random.key(0), parts)
    rows = jnp.ones((4, 1, 1, 1))
    new, metrics = train_step(state, Batch({"a": rows}, jnp.zeros(4, int), jnp.arange(4)), parts)
    assert (new.step, metrics["schedule_step"]) == (1, 7)
    # The gradient is 1, so the weight moves from 2 to 1; the target keeps 7 / 10 of its 2.
    assert new.params["encoder"] == 1
    assert new.target["params"]["encoder"] == pytest.approx(0.7 * 2 + 0.3 * 1)
