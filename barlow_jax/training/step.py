"""The one train step: written for the global batch, without a collective or an axis name."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from barlow_jax.distributed.mesh import Layout
from barlow_jax.networks.network import Network
from barlow_jax.optim import num_updates
from barlow_jax.training import gradients as gradients_of
from barlow_jax.types import Array, Batch, LossContext, Metrics, Objective, Outputs, Target, TrainState

Views = Mapping[str, jax.Array]


def init_state(
    key: jax.Array, *, network: Network, objective: Objective, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first step; the target network starts as the first one."""
    params, batch_stats = network.init(key)
    params = objective.constrain(params)
    return TrainState(
        jnp.zeros([], jnp.int32),
        params,
        batch_stats,
        optimizer.init(params),
        target_of(params, batch_stats, network=network, objective=objective),
        objective.init_memory(jax.random.fold_in(key, 1)),
    )


def target_of(params: Any, batch_stats: Any, *, network: Network, objective: Objective) -> dict[str, Any]:
    """The target network of a state, a copy of the first one's part; {} where the objective has none."""
    if objective.target is None:
        return {}
    trees = {"params": params, "batch_stats": batch_stats}
    return {name: network.target.part_of(tree) for name, tree in trees.items()}


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    normalize: Callable[[Views], Views],
    augment: Callable[[Views], Views] | None = None,
    seed: int = 0,
    microbatches: int = 1,
) -> tuple[TrainState, Metrics]:
    """One update from one global batch, which may go through the network in equal microbatches.

    Views go through the network in the passes of the objective's grouping, the running statistics passed on from
    one to the next: for Barlow Twins, as in its official code, each view by itself.
    `augment` takes decoded images (`barlow_jax.data.padded_images`) to uint8 views, once a step and outside of the gradient;
    `normalize` makes of any of their rows what the network sees, as often as it does.

    Where the loss, the gradient's norm or a new average is not finite, all but the step stays what it was, learning
    rates included: as if this batch had not been in the data. `skipped_steps` counts them since the run began: the
    steps that the optimizer did not count.
    """
    views = batch.views
    if augment is not None:
        views = gradients_of.in_pieces(augment, microbatches)(views)
    params = objective.constrain(state.params)

    def apply(network, params, batch_stats, part):
        return network.apply(params, batch_stats, normalize(part), objective.grouping)

    targets, target = _targets(state.target, objective, views, partial(apply, network.target), microbatches)
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    context = LossContext(batch.labels, state.step, key, targets, network.prototypes_of(params))
    context = jax.tree.map(jax.lax.stop_gradient, context)

    def loss(outputs: Mapping[str, Outputs]) -> tuple[Array, Any]:
        value, memory, metrics = objective.loss(outputs, state.memory, context)
        return value, (memory, metrics)

    of_parts = partial(gradients_of.of_microbatches, microbatches=microbatches)
    compute = gradients_of.of_batch if microbatches == 1 else of_parts
    passes = _passes(objective, views, objective.views or views)
    gradients, batch_stats, (memory, metrics) = compute(
        params, state.batch_stats, passes, partial(apply, network), loss
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, params)
    params = optax.apply_updates(params, updates)
    if objective.target is not None:
        target = target | {"params": _follow(objective.target, target["params"], params, state.step)}
    norm = optax.tree.norm(gradients)
    new = TrainState(state.step, params, batch_stats, opt_state, target, memory)
    new = _either(_all_finite(metrics["loss"], norm, batch_stats), new, state)._replace(step=state.step + 1)
    return new, metrics | {"gradient_norm": norm, "skipped_steps": new.step - num_updates(new.opt_state)}


def _targets(
    target: Any, objective: Objective, views: Views, apply: Callable[..., Any], microbatches: int
) -> tuple[dict[str, Outputs], Any]:
    """What the target network says of the views that it sees, and the target with its new statistics."""
    if objective.target is None:
        return {}, target
    passes = _passes(objective, views, objective.target.views)
    outputs, stats = gradients_of.forward(
        target["params"], target["batch_stats"], passes, apply, microbatches
    )
    return outputs, target | {"batch_stats": stats}


def _passes(objective: Objective, views: Views, names: Iterable[str]) -> list[Views]:
    """The named views, those together that go through the network together."""
    sizes = {name: views[name].shape[1] for name in sorted(names)}
    return [{name: views[name] for name in together} for together in objective.grouping.passes(sizes)]


def _follow(target: Target, average: Any, params: Any, step: Array) -> Any:
    """The target's parameters, moved towards those of the network."""
    momentum = target.momentum(step)
    return jax.tree.map(
        lambda old, new: momentum * old + (1 - momentum) * new,
        average,
        {name: params[name] for name in average},
    )


def _either(condition: Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _all_finite(*tree: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def compile_step(
    layout: Layout, state: TrainState, **parts
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The jitted step on a mesh, for a state like this one (arrays, or their shapes).

    It takes over the memory of the state it is given.
    """
    shardings = layout.state_shardings(state)
    return jax.jit(
        partial(train_step, **parts),
        in_shardings=(shardings, layout.batch),
        out_shardings=(shardings, layout.replicated),
        donate_argnums=0,
    )
