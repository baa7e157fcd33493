"""The train step: a pure function of the global batch, without collectives or axis names."""

from collections.abc import Callable, Iterable
import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from barlow_jax.distributed.mesh import Layout
from barlow_jax.networks.network import Network
from barlow_jax.optim.optimizers import num_updates
from barlow_jax.training.microbatches import Views, forward, map_microbatches
from barlow_jax.types import Array, Batch, LossContext, Metrics, Objective, Outputs, TrainState


@dataclasses.dataclass(frozen=True)
class StepParts:
    """Components of a train step that stay the same for the whole run."""

    network: Network
    objective: Objective
    optimizer: optax.GradientTransformation
    normalize: Callable[[Views], Views]  # uint8 rows to network input; runs in every pass through the network
    # Decoded images (`barlow_jax.data.padded_images`) to uint8 views, once per step, outside the gradient;
    # None if the host augments.
    augment: Callable[[Views], Views] | None = None
    seed: int = 0  # of the random numbers that the loss draws
    schedule_offset: int = 0  # added to the step for the objective's schedules
    microbatches: int = 1  # equal parts that go through the network one after the other
    average_decay: float = 0.0  # of the averaged weights; 0: none


def init_state(key: jax.Array, parts: StepParts) -> TrainState:
    """Return the state before the first step; the target network starts as a copy of the network."""
    params, batch_stats = parts.network.init(key)
    params = parts.objective.constrain(params)
    return TrainState(
        jnp.zeros([], jnp.int32),
        params,
        batch_stats,
        parts.optimizer.init(params),
        _init_target(params, batch_stats, parts),
        parts.objective.init_memory(jax.random.fold_in(key, 1)),
        _init_average(params, batch_stats, parts),
    )


def replace_weights(state: TrainState, params: Any, batch_stats: Any, parts: StepParts) -> TrainState:
    """Return a state before the first step in which parts of the network, such as `encoder`, are replaced."""
    params, batch_stats = state.params | params, state.batch_stats | batch_stats
    return state._replace(
        params=params,
        batch_stats=batch_stats,
        opt_state=parts.optimizer.init(params),
        target=_init_target(params, batch_stats, parts),
        average=_init_average(params, batch_stats, parts),
    )


def _init_average(params: Any, batch_stats: Any, parts: StepParts) -> dict[str, Any]:
    """Return the averages before the first step; {} if there are none."""
    return {"params": params, "batch_stats": batch_stats} if parts.average_decay else {}


def _init_target(params: Any, batch_stats: Any, parts: StepParts) -> dict[str, Any]:
    """Return the target network's part of parameters and running statistics; {} if the objective has none."""
    if parts.objective.target is None:
        return {}
    trees = {"params": params, "batch_stats": batch_stats}
    return {name: parts.network.target_network.select(tree) for name, tree in trees.items()}


def train_step(state: TrainState, batch: Batch, parts: StepParts) -> tuple[TrainState, Metrics]:
    """Make one update from one global batch.

    Batch statistics are those of the objective's grouping, and the running statistics move from one group to
    the next: for Barlow Twins, as in its official code, each view is a group of its own.

    If the loss, the gradient norm or a new running statistic is not finite, everything but the step number
    keeps its value, learning rates included: as if this batch were not in the data. The metric
    `skipped_steps` counts these steps since the start of the run: the steps that the optimizer did not count.
    A refresh of the objective's memory follows the update, and takes place after a skipped step too.
    """
    network, objective, views = parts.network, parts.objective, batch.views
    if parts.augment is not None:
        views = map_microbatches(parts.augment, views, parts.microbatches)
    params = objective.constrain(state.params)
    key = jax.random.fold_in(jax.random.key(parts.seed), state.step)
    if objective.derive is not None:
        views = objective.derive(views, key)
    targets, target = _target_outputs(state.target, views, parts)
    schedule_step = state.step + parts.schedule_offset
    context = LossContext(batch.labels, schedule_step, key, targets, network.prototypes(params), batch.index)
    context = jax.tree.map(jax.lax.stop_gradient, context)

    def loss_of(params: Any) -> tuple[Array, Any]:
        passes = _passes(parts, views, objective.views or views)
        outputs, batch_stats = _forward(network, params, state.batch_stats, passes, parts)
        loss, memory, metrics = objective.loss(outputs, state.memory, context)
        return loss, (batch_stats, memory, metrics)

    (_, (batch_stats, memory, metrics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, opt_state = parts.optimizer.update(gradients, state.opt_state, params)
    params = optax.apply_updates(params, updates)
    if objective.target is not None:
        followed = {name: params[name] for name in target["params"]}
        momentum = objective.target.momentum(schedule_step)
        target = target | {"params": _moving_average(target["params"], followed, momentum)}
    gradient_norm = optax.tree.norm(gradients)
    average = state.average and _moving_average(
        state.average, {"params": params, "batch_stats": batch_stats}, parts.average_decay
    )
    updated = TrainState(state.step, params, batch_stats, opt_state, target, memory, average)
    is_finite = _all_finite(metrics["loss"], gradient_norm, batch_stats)
    new = optax.tree.where(is_finite, updated, state)
    new = new._replace(step=state.step + 1, memory=_refresh(objective, new.memory, key, schedule_step + 1))
    skipped = new.step - num_updates(new.opt_state)
    return new, metrics | {"gradient_norm": gradient_norm, "skipped_steps": skipped}


def _forward(
    network: Network, params: Any, batch_stats: Any, passes: list[Views], parts: StepParts
) -> tuple[dict[str, Outputs], Any]:
    def apply(params, batch_stats, views):
        return network.apply(params, batch_stats, parts.normalize(views), parts.objective.grouping)

    return forward(params, batch_stats, passes, apply, parts.microbatches)


def _target_outputs(target: Any, views: Views, parts: StepParts) -> tuple[dict[str, Outputs], Any]:
    """Return the target network's outputs for its views, and the target with new running statistics."""
    if parts.objective.target is None:
        return {}, target
    passes = _passes(parts, views, parts.objective.target.views)
    outputs, batch_stats = _forward(
        parts.network.target_network, target["params"], target["batch_stats"], passes, parts
    )
    return outputs, target | {"batch_stats": batch_stats}


def _passes(parts: StepParts, views: Views, names: Iterable[str]) -> list[Views]:
    """Group the named views into passes through the network.

    Without microbatches all views are one pass, which the network makes per size. With microbatches, whose
    purpose is to save memory, those that the grouping keeps independent follow each other.
    """
    sizes = {name: views[name].shape[1] for name in sorted(names)}
    groups = [tuple(sizes)] if parts.microbatches == 1 else parts.objective.grouping.passes(sizes)
    return [{name: views[name] for name in group} for group in groups]


def _moving_average(average: Any, new: Any, decay: Array | float) -> Any:
    return jax.tree.map(lambda x, y: decay * x + (1 - decay) * y, average, new)


def _refresh(objective: Objective, memory: Any, key: Array, steps: Array) -> Any:
    """Return the memory after `steps` steps of the schedule, refreshed if it is time."""
    if objective.refresh is None:
        return memory
    is_due = steps % objective.refresh_every == 0
    return jax.lax.cond(is_due, objective.refresh, lambda memory, key: memory, memory, key)


def _all_finite(*tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def compile_step(
    layout: Layout, state: TrainState, parts: StepParts
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return the jitted step on a mesh; it donates the memory of the state that is passed to it.

    Args:
      layout: mesh and shardings.
      state: arrays, or their shapes.
      parts: components of the step.
    """
    shardings = layout.state_shardings(state)
    return jax.jit(
        partial(train_step, parts=parts),
        in_shardings=(shardings, layout.batch),
        out_shardings=(shardings, layout.replicated),
        donate_argnums=0,
    )
