"""Supervised baseline of the papers' tables: cross-entropy of a linear classifier on the representation.

L = -1/N sum_b log softmax(logits_b)[label_b]
"""

import jax.numpy as jnp
import optax

from barlow_jax.config import schema as config_lib
from barlow_jax.types import Objective, RunInfo


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over view a and its labels, which must lie in 0..C-1."""

    def loss(outputs, memory, context):
        logits = outputs["a"].logits
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, context.labels)
        value = config.scale * jnp.mean(losses)
        return value, memory, {"loss": value, "top1": jnp.mean(jnp.argmax(logits, axis=1) == context.labels)}

    return Objective(loss, views=("a",))
