"""The one train step: written for the global batch, without a collective or an axis name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from barlow_jax import gradients as gradients_of
from barlow_jax.mesh import Layout
from barlow_jax.networks.network import Network
from barlow_jax.optim import num_updates
from barlow_jax.types import Batch, Context, Metrics, Objective, TrainState

Views = Mapping[str, jax.Array]


def init_state(key: jax.Array, *, network: Network, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    params, batch_stats = network.init(key)
    return TrainState(jnp.zeros([], jnp.int32), params, batch_stats, optimizer.init(params))


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    normalize: Callable[[Views], Views],
    augment: Callable[[Views], Views] | None = None,
    microbatches: int = 1,
) -> tuple[TrainState, Metrics]:
    """One update from one global batch, which may go through the network in equal microbatches.

    Each view goes through the network by itself, the running statistics passed on from one to the
    next, as in the official code: two BatchNorm passes and two updates of the averages a step.
    `augment` takes decoded images (`barlow_jax.canvas`) to uint8 views, once a step and outside of the gradient;
    `normalize` makes of any of their rows what the network sees, as often as it does.

    Where the loss, the gradient's norm or a new average is not finite, all but the step stays what it was, learning
    rates included: as if this batch had not been in the data. `skipped_steps` counts them since the run began: the
    steps that the optimizer did not count.
    """
    views = batch.views
    if augment is not None:
        views = gradients_of.in_pieces(augment, microbatches)(views)

    def apply(params, batch_stats, name, images):
        return network.apply(params, batch_stats, normalize({name: images})[name])

    of_parts = partial(gradients_of.of_microbatches, microbatches=microbatches)
    compute = gradients_of.of_batch if microbatches == 1 else of_parts
    context = Context(batch.labels)
    gradients, batch_stats, metrics = compute(
        state.params, state.batch_stats, views, context, apply, objective
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    norm = optax.tree.norm(gradients)
    finite = _all_finite(metrics["loss"], norm, batch_stats)
    new = state._replace(params=params, batch_stats=batch_stats, opt_state=opt_state)
    new = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
    new = new._replace(step=state.step + 1)
    return new, metrics | {"gradient_norm": norm, "skipped_steps": new.step - num_updates(new.opt_state)}


def _all_finite(*tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def compile_step(
    layout: Layout, state: TrainState, **parts
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The jitted step on a mesh, for a state like this one (arrays, or their shapes).

    It takes over the memory of the state it is given.
    """
    shardings = layout.state(state)
    return jax.jit(
        partial(train_step, **parts),
        in_shardings=(shardings, layout.batch),
        out_shardings=(shardings, layout.replicated),
        donate_argnums=0,
    )
