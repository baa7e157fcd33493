"""The supervised baseline of the papers' tables: cross-entropy of a linear classifier on the representation.

L = -1/N sum_b log softmax(logits_b)[label_b]
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from barlow_jax import config as config_lib
from barlow_jax.types import Context, Metrics, Objective, Outputs, Reshard


def make(config: config_lib.Objective, reshard: Reshard | None = None) -> Objective:
    """The objective over view a and its labels, which must lie in 0..C-1."""
    del reshard  # a mean over images needs no other layout

    def loss(outputs: Mapping[str, Outputs], context: Context) -> tuple[jax.Array, Metrics]:
        logits = outputs["a"].logits
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, context.labels)
        value = config.scale * jnp.mean(losses)
        return value, {"loss": value, "top1": jnp.mean(jnp.argmax(logits, axis=1) == context.labels)}

    return Objective(loss)
