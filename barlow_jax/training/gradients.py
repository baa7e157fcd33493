"""The gradient of a loss that is not a mean over images, from a whole batch or from pieces of it.

Batch statistics tie every embedding to every other one, so the gradients of microbatch losses do not add up
to the gradient of the loss. What adds up is the chain rule (GradCache, Gao et al. 2021):

    z_m = f(params, x_m)                     first pass, one microbatch after the other, nothing kept but z
    g = dL / dz                              of the loss of all embeddings
    dL / dparams = sum_m J_m^T g_m           second pass, f anew, one microbatch after the other

The loss is that of the global batch, exactly. What a microbatch does see by itself is the network's
BatchNorms: their statistics are over the B / M images of one microbatch (of all devices), and their running
averages move M times a view.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.types import Array, Outputs

Views = Mapping[str, Array]
# (params, batch_stats, raw images by view) -> (what the network says of each, batch_stats)
Apply = Callable[[Any, Any, Views], tuple[dict[str, Outputs], Any]]
# Of the outputs of all views, to its value and what else the step wants to know.
Loss = Callable[[Mapping[str, Outputs]], tuple[Array, Any]]


def forward(
    params: Any, batch_stats: Any, passes: Sequence[Views], apply: Apply, microbatches: int = 1
) -> tuple[dict[str, Outputs], Any]:
    """Outputs of all views, and new running statistics.

    Args:
      params: of the network.
      batch_stats: of the network.
      passes: the views, those together that go through the network together.
      apply: the network in training mode.
      microbatches: that each pass goes through it in.
    """
    outputs: dict[str, Outputs] = {}
    for views in passes:
        if microbatches == 1:
            made, batch_stats = apply(params, batch_stats, views)
        else:
            made, batch_stats = _in_turn(params, batch_stats, views, apply, microbatches)
        outputs |= made
    return outputs, batch_stats


def of_batch(
    params: Any, batch_stats: Any, passes: Sequence[Views], apply: Apply, loss: Loss
) -> tuple[Any, Any, Any]:
    """Gradients, new running statistics and what else the loss says; the whole batch in one piece."""

    def whole(params):
        outputs, stats = forward(params, batch_stats, passes, apply)
        value, more = loss(outputs)
        return value, (stats, more)

    gradients, (batch_stats, more) = jax.grad(whole, has_aux=True)(params)
    return gradients, batch_stats, more


def of_microbatches(
    params: Any, batch_stats: Any, passes: Sequence[Views], apply: Apply, loss: Loss, microbatches: int
) -> tuple[Any, Any, Any]:
    """The same, with the activations of one of M microbatches in memory at a time."""
    outputs, batch_stats = forward(params, batch_stats, passes, apply, microbatches)
    cotangents, more = jax.grad(loss, has_aux=True)(outputs)
    gradients = jax.tree.map(jnp.zeros_like, params)
    for views in passes:

        def backward(total, piece):
            images, cotangent = piece
            # In training mode nothing depends on the running statistics: any will do.
            _, pull = jax.vjp(lambda params: apply(params, batch_stats, images)[0], params)
            return jax.tree.map(jnp.add, total, *pull(cotangent)), None

        parts = views, {name: cotangents[name] for name in views}
        parts = jax.tree.map(partial(_split, microbatches=microbatches), parts)
        gradients, _ = jax.lax.scan(backward, gradients, parts)
    return gradients, batch_stats, more


def _in_turn(
    params: Any, batch_stats: Any, views: Views, apply: Apply, microbatches: int
) -> tuple[dict[str, Outputs], Any]:
    def one(stats, piece):
        made, stats = apply(params, stats, piece)
        return stats, made

    pieces = jax.tree.map(partial(_split, microbatches=microbatches), dict(views))
    batch_stats, parts = jax.lax.scan(one, batch_stats, pieces)
    return jax.tree.map(_join, parts), batch_stats


def in_pieces(function: Callable[[Any], Any], microbatches: int) -> Callable[[Any], Any]:
    """A function of rows, one microbatch after the other: what it needs in between is that of one of them."""
    if microbatches == 1:
        return function

    def mapped(tree: Any) -> Any:
        split = partial(_split, microbatches=microbatches)
        return jax.tree.map(_join, jax.lax.map(function, jax.tree.map(split, tree)))

    return mapped


def _split(rows: Array, microbatches: int) -> Array:
    """`[B, ...]` to `[M, B / M, ...]`: every M-th row, so that each device cuts up the rows that it has."""
    return rows.reshape(-1, microbatches, *rows.shape[1:]).swapaxes(0, 1)


def _join(parts: Array) -> Array:
    """The inverse of `_split`."""
    return parts.swapaxes(0, 1).reshape(-1, *parts.shape[2:])
