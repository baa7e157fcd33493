"""Jigsaw puzzles (Noroozi and Favaro 2016): classify by which permutation the patches of an image are in.

Nine patches of a 3 x 3 grid of view a, permuted by y_b of K permutations, go through the encoder one by one
and side by side through the joint head. With its logits l_b:

    L = -1/N sum_b log softmax(l_b)[y_b]

A step has one permutation of each image, from the step's key. No label is read. The patches share the
statistics of each BatchNorm.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.augment.patches import cut_patches
from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import PATCHES
from barlow_jax.types import Grouping, Objective, RunInfo


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over patches of view a."""
    return order_prediction(permutations(config.jigsaw.permutations), config.scale)


def permutations(count: int) -> np.ndarray:
    """Return `[count, 9]` distinct permutations of 0 to 8, of the largest mean Hamming distance.

    They form Latin squares, a permutation q with q + 1, ..., q + 8 modulo 9: each cell is equally often in
    each place, up to the last, incomplete square. The paper's greedy choice aims at the same mean.

    >>> print(permutations(3))
    [[0 1 2 3 4 5 6 7 8]
     [1 2 3 4 5 6 7 8 0]
     [2 3 4 5 6 7 8 0 1]]
    """
    first = np.array([(0, *rest) for rest in itertools.permutations(range(1, 9))])
    squares = -(-count // 9)
    chosen = first[np.arange(squares) * len(first) // squares]
    return ((chosen[:, None] + np.arange(9)[:, None]) % 9).reshape(-1, 9)[:count].astype(np.int32)


def order_prediction(orders: np.ndarray, scale: float) -> Objective:
    """Build the objective that classifies in which of `[K, V]` orders the V patches of an image are."""

    def sample(key, rows):
        return jax.random.randint(jax.random.fold_in(key, 1), [rows], 0, len(orders))

    def derive(views, key):
        labels = sample(key, len(views["a"]))
        return cut_patches(key, views["a"], jnp.asarray(orders)[labels])

    def loss(outputs, memory, context):
        logits = outputs[PATCHES[0]].joint.astype(jnp.float32)
        labels = sample(context.key, len(logits))
        value = scale * jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        top1 = jnp.mean(jax.lax.stop_gradient(jnp.argmax(logits, axis=1) == labels))
        return value, memory, {"loss": value, "top1": top1}

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"), derive=derive)
