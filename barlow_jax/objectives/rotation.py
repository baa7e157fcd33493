"""Rotation prediction (Gidaris et al. 2018): classify by how many quarter turns an image is rotated.

Every image is seen in all four rotations. With x_b turned r times counterclockwise, and its logits l:

    L = -1/4N sum_b sum_r log softmax(l(turn(x_b, r)))[r]

As in the official code, the four rotations share the statistics of each BatchNorm. No label is read.
"""

import jax
import jax.numpy as jnp
import optax

from barlow_jax.config import schema as config_lib
from barlow_jax.types import Grouping, Objective, RunInfo

TURNS = ("a", "turn1", "turn2", "turn3")


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over view a and its three rotations."""

    def derive(views, key):
        return {name: jnp.rot90(views["a"], turns, axes=(1, 2)) for turns, name in enumerate(TURNS)}

    def loss(outputs, memory, context):
        logits = jnp.stack([outputs[name].logits for name in TURNS], axis=1)  # [N, 4, 4]
        labels = jnp.broadcast_to(jnp.arange(len(TURNS)), logits.shape[:2])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        value = config.scale * jnp.mean(losses)
        top1 = jnp.mean(jax.lax.stop_gradient(jnp.argmax(logits, axis=2) == labels))
        return value, memory, {"loss": value, "top1": top1}

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"), derive=derive)
