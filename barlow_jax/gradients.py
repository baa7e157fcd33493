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

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.types import Array, Context, Metrics, Objective, Outputs

# (params, batch_stats, raw images of the named view) -> (Outputs, batch_stats)
Apply = Callable[[Any, Any, str, Array], tuple[Outputs, Any]]


def of_batch(
    params: Any,
    batch_stats: Any,
    views: Mapping[str, Array],
    context: Context,
    apply: Apply,
    objective: Objective,
) -> tuple[Any, Any, Metrics]:
    """Gradients, new running statistics and metrics; the whole batch in one piece."""

    def loss(params):
        outputs, stats = {}, batch_stats
        for name, images in views.items():
            outputs[name], stats = apply(params, stats, name, images)
        value, metrics = objective.loss(outputs, context)
        return value, (stats, metrics)

    gradients, (batch_stats, metrics) = jax.grad(loss, has_aux=True)(params)
    return gradients, batch_stats, metrics


def of_microbatches(
    params: Any,
    batch_stats: Any,
    views: Mapping[str, Array],
    context: Context,
    apply: Apply,
    objective: Objective,
    microbatches: int,
) -> tuple[Any, Any, Metrics]:
    """The same, with the activations of one of M microbatches in memory at a time."""
    pieces = {name: _split(images, microbatches) for name, images in views.items()}
    outputs = {}
    for name, images in pieces.items():

        def forward(stats, piece, name=name):
            piece_outputs, stats = apply(params, stats, name, piece)
            return stats, piece_outputs

        batch_stats, parts = jax.lax.scan(forward, batch_stats, images)
        outputs[name] = jax.tree.map(_join, parts)

    cotangents, metrics = jax.grad(objective.loss, has_aux=True)(outputs, context)
    gradients = jax.tree.map(jnp.zeros_like, params)
    for name, images in pieces.items():

        def backward(total, piece, name=name):
            images, cotangent = piece
            # In training mode nothing depends on the running statistics: any will do.
            _, pull = jax.vjp(lambda params: apply(params, batch_stats, name, images)[0], params)
            return jax.tree.map(jnp.add, total, *pull(cotangent)), None

        cotangent = jax.tree.map(partial(_split, microbatches=microbatches), cotangents[name])
        gradients, _ = jax.lax.scan(backward, gradients, (images, cotangent))
    return gradients, batch_stats, metrics


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
