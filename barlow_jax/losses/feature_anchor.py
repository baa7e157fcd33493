"""Anchor of continued pretraining: a penalty on the drift of the representation from that of the start."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from barlow_jax.errors import UserError
from barlow_jax.networks.unit_sphere import cosines
from barlow_jax.types import LossContext, Objective, Target


def with_feature_anchor(objective: Objective, weight: float, views: tuple[str, ...]) -> Objective:
    """Add `weight mean |u - u_0|^2` to a loss: u and u_0 are unit features of the network and of its start.

    The start is the target network, which does not move. Both normalize by the statistics of the batch.

    Raises:
      UserError: the objective has a target network of its own.
    """
    if objective.target is not None:
        raise UserError("config.adapt.anchor is features, but this method has a target network. Use weights.")

    def loss(outputs: Any, memory: Any, context: LossContext) -> tuple[Any, Any, Any]:
        value, memory, metrics = objective.loss(outputs, memory, context)
        pairs = [(outputs[name].representation, context.targets[name].representation) for name in views]
        drift = 2 - 2 * jnp.mean(jnp.stack([cosines(*pair) for pair in pairs]))
        value += weight * drift
        return value, memory, metrics | {"loss": value, "feature_drift": drift}

    return dataclasses.replace(objective, loss=loss, target=Target(lambda step: jnp.ones([]), views))
