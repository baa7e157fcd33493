"""Training-mode passes through the network, whole or in microbatches, with the exact gradient in both cases.

Batch statistics tie every embedding to every other one, so the gradients of microbatch losses do not add up
to the gradient of the loss. The chain rule does add up (GradCache, Gao et al. 2021):

    z_m = f(params, x_m)                     first pass, one microbatch at a time, only z is kept
    g = dL / dz                              gradient of the loss with respect to all embeddings
    dL / dparams = sum_m J_m^T g_m           second pass, f is evaluated again, one microbatch at a time

The loss is exactly that of the global batch. Only BatchNorm differs: it normalizes over the B / M images of
one microbatch (on all devices), and its running statistics move M times per view.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.types import Array, Outputs

Views = Mapping[str, Array]
# (params, batch_stats, raw images by view) -> (outputs by view, new batch_stats)
Apply = Callable[[Any, Any, Views], tuple[dict[str, Outputs], Any]]


def forward(
    params: Any, batch_stats: Any, passes: Sequence[Views], apply: Apply, microbatches: int = 1
) -> tuple[dict[str, Outputs], Any]:
    """Return the outputs of all views and the new running statistics.

    Differentiable with respect to `params`. With several microbatches, the activations of only one of them
    are in memory at a time, in the forward and in the backward pass.

    Args:
      params: parameters of the network.
      batch_stats: its running statistics, passed on from one pass to the next.
      passes: views by name, grouped into passes: the views of one pass go through the network together.
      apply: the network in training mode.
      microbatches: M, equal parts that each pass is split into.
    """
    if microbatches == 1:
        outputs: dict[str, Outputs] = {}
        for views in passes:
            new, batch_stats = apply(params, batch_stats, views)
            outputs |= new
        return outputs, batch_stats
    return _in_microbatches(apply, microbatches)(params, batch_stats, list(passes))


def _in_microbatches(apply: Apply, microbatches: int) -> Callable[..., tuple[dict[str, Outputs], Any]]:
    """Return `forward` in microbatches, with the backward pass of the module's docstring."""
    split = partial(jax.tree.map, partial(_split, microbatches=microbatches))

    @jax.custom_vjp
    def run(params, batch_stats, passes):
        def step(stats, views):
            outputs, stats = apply(params, stats, views)
            return stats, outputs

        outputs = {}
        for views in passes:
            batch_stats, new = jax.lax.scan(step, batch_stats, split(views))
            outputs |= jax.tree.map(_join, new)
        return outputs, batch_stats

    def run_and_keep_inputs(*inputs):
        return run(*inputs), inputs

    def backward(inputs, cotangents):
        params, batch_stats, passes = inputs
        cotangents, _ = cotangents  # the running statistics carry no gradient

        def accumulate(total, microbatch):
            views, cotangent = microbatch
            # In training mode no output depends on the running statistics, so any will do.
            _, pull_back = jax.vjp(lambda params: apply(params, batch_stats, views)[0], params)
            return jax.tree.map(jnp.add, total, *pull_back(cotangent)), None

        gradients = jax.tree.map(jnp.zeros_like, params)
        for views in passes:
            microbatch = split((views, {name: cotangents[name] for name in views}))
            gradients, _ = jax.lax.scan(accumulate, gradients, microbatch)
        return gradients, None, None

    run.defvjp(run_and_keep_inputs, backward)
    return run


def map_microbatches(function: Callable[[Any], Any], rows: Any, microbatches: int) -> Any:
    """Apply a function of rows to one microbatch at a time, so that its temporaries are those of one."""
    if microbatches == 1:
        return function(rows)
    split = partial(_split, microbatches=microbatches)
    return jax.tree.map(_join, jax.lax.map(function, jax.tree.map(split, rows)))


def _split(rows: Array, microbatches: int) -> Array:
    """Reshape `[B, ...]` to `[M, B / M, ...]`: every M-th row, so that each device splits its own rows."""
    return rows.reshape(-1, microbatches, *rows.shape[1:]).swapaxes(0, 1)


def _join(rows: Array) -> Array:
    """Invert `_split`."""
    return rows.swapaxes(0, 1).reshape(-1, *rows.shape[2:])
