"""Target network, memory, constraint and random numbers of the step, with a toy method that has them all."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.augment.views import normalize_views
from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses import memory_bank
from barlow_jax.networks.network import Network
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, compile_step, init_state
from barlow_jax.types import Batch, Grouping, Objective, Target

ROWS, WIDTH, QUEUE = 32, 16, 64


def _loss(outputs, memory, context):
    """Compare queries with the target's keys and a queue of older ones."""
    (queries,), keys = (o.embedding for o in outputs.values()), context.targets["b"].embedding
    pull = jnp.mean(jnp.sum((queries - keys) ** 2, axis=1))
    push = jnp.mean(queries @ memory["queue"].T) * jax.random.uniform(context.key)
    queue = jnp.concatenate([keys, memory["queue"][:-ROWS]])
    bank = memory_bank.write(memory["bank"], context.index, keys)
    return pull + 0.01 * push, {"queue": queue, "bank": bank}, {"loss": pull + 0.01 * push, "push": push}


def _constrain(params):
    kernel = params["projector"]["layers"][1]["kernel"]
    layers = params["projector"]["layers"] | {1: {"kernel": kernel / jnp.linalg.norm(kernel)}}
    return params | {"projector": params["projector"] | {"layers": layers}}


OBJECTIVE = Objective(
    _loss,
    views=("a",),
    grouping=Grouping(),
    target=Target(lambda step: jnp.where(step == 0, 0.5, 0.9), ("b",)),
    init_memory=lambda key: {
        "queue": jax.random.normal(key, (QUEUE, WIDTH)),
        "bank": jnp.zeros([memory_bank.num_rows(ROWS), WIDTH]),
    },
    refresh=lambda memory, key: memory | {"bank": memory["bank"] + jax.random.uniform(key)},
    refresh_every=2,
    constrain=_constrain,
)


def _parts(config, layout, **changes):
    parts = StepParts(
        network=Network(config.network, layout.parallel_linear),
        objective=OBJECTIVE,
        optimizer=optimizers.make_optimizer(
            config.optim, optimizers.learning_rates(config, steps_per_epoch=4)
        ),
        normalize=partial(normalize_views, recipe=config.recipe),
        seed=3,
    )
    return dataclasses.replace(parts, **changes)


def _batches(number):
    rng, rows = np.random.default_rng(0), np.arange(ROWS, dtype=np.int32)
    rows[1] = 0  # the replacement of an image that could not be decoded
    for _ in range(number):
        views = {name: rng.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8) for name in "ab"}
        yield Batch(views, rows, rows)


def _start(config, layout, **changes):
    parts = _parts(config, layout, **changes)
    init = partial(init_state, parts=parts)
    state = jax.jit(init, out_shardings=layout.state_shardings(jax.eval_shape(init, jax.random.key(0))))(
        jax.random.key(0)
    )
    return state, compile_step(layout, state, parts), init


_STARTED = {}  # initial states on the host and compiled steps, by config and layout: tests share them


def _run(config, layout, number, **changes):
    key = repr((config, changes)), layout
    if key not in _STARTED:
        state, step, _ = _start(config, layout, **changes)
        _STARTED[key] = jax.device_get(state), step
    state, step = _STARTED[key]
    state = jax.device_put(state, layout.state_shardings(state))
    states, metrics = [jax.device_get(state)], []
    for batch in _batches(number):
        state, step_metrics = step(state, layout.shard(batch))
        states.append(jax.device_get(state))
        metrics.append(jax.device_get(step_metrics))
    return states, metrics


@pytest.fixture
def config(small_config, typed):
    small_config.optim.name = "adamw"
    small_config.optim.warmup_epochs = 0.0
    return typed(small_config)


@pytest.fixture(scope="module")
def layout():
    return Layout(make_mesh())


@pytest.mark.parametrize("projector", ["replicated", pytest.param("sharded", marks=pytest.mark.slow)])
@pytest.mark.parametrize("microbatches", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_device_and_eight_agree(config, projector, microbatches, relative):
    one = _run(config, Layout(make_mesh(jax.devices()[:1])), 3, microbatches=microbatches)
    eight = _run(config, Layout(make_mesh(), projector), 3, microbatches=microbatches)
    for a, b in zip(one[1], eight[1], strict=True):
        np.testing.assert_allclose(b["loss"], a["loss"], rtol=1e-5)
    for part in ("target", "memory"):
        assert relative(getattr(eight[0][1], part), getattr(one[0][1], part)) < 1e-5


def test_the_target_follows_and_only_its_view_updates_its_statistics(config, layout, relative):
    states, _ = _run(config, layout, 2)
    assert (
        relative(states[0].target["params"], {n: states[0].params[n] for n in ("encoder", "projector")}) == 0
    )
    for before, after, momentum in zip(states[:-1], states[1:], (0.5, 0.9), strict=True):
        followed = {name: after.params[name] for name in before.target["params"]}
        expected = jax.tree.map(
            lambda old, new, m=momentum: m * old + (1 - m) * new, before.target["params"], followed
        )
        assert relative(after.target["params"], expected) < 1e-6
    # In the first step both networks are equal, and each sees one view.
    swapped = [batch._replace(views={"a": batch.views["b"], "b": batch.views["a"]}) for batch in _batches(1)]
    state, step, _ = _start(config, layout)
    other, _ = step(state, layout.shard(swapped[0]))
    assert relative(other.batch_stats, states[1].target["batch_stats"]) < 1e-6


def test_the_step_applies_memory_and_constraint_of_the_method(config, layout):
    states, metrics = _run(config, layout, 3)
    queues = [state.memory["queue"] for state in states]
    for before, after in zip(queues[:-1], queues[1:], strict=True):
        np.testing.assert_array_equal(after[ROWS:], before[: QUEUE - ROWS])
        assert np.all(after[:ROWS] != before[:ROWS])
    assert np.linalg.norm(states[0].params["projector"]["layers"][1]["kernel"]) == pytest.approx(1, 1e-6)
    draws = [m["push"] / np.mean(q) for m, q in zip(metrics, queues[:-1], strict=True)]
    assert len(set(draws)) == 3, "each step has its own random numbers"


def test_a_memory_bank_has_the_first_row_of_each_image_and_is_refreshed(config, layout):
    states, _ = _run(config, layout, 3)
    zero, first, second, third = (np.asarray(state.memory["bank"]) for state in states)
    keys = states[1].memory["queue"][:ROWS]  # of the first step, in the order of the batch
    np.testing.assert_array_equal(first[[0, *range(2, ROWS)]], keys[[0, *range(2, ROWS)]])
    assert not zero.any() and not first[1].any() and not first[ROWS:].any()
    assert second[ROWS:].min() == second[1].max() > 0, "after the second step"
    np.testing.assert_array_equal(third[ROWS:], second[ROWS:])


def test_memory_is_split_by_rows_and_the_target_like_the_network(config):
    state, _, _ = _start(config, Layout(make_mesh(), "sharded"))
    for rows in state.memory.values():
        assert rows.sharding.shard_shape(rows.shape) == (len(rows) // 8, WIDTH)
    for tree in (state.params, state.target["params"]):
        assert tree["projector"]["layers"][0]["kernel"].sharding.shard_shape((16, 16)) == (16, 2)


def test_a_skipped_step_keeps_target_and_memory(config, layout):
    def loss(outputs, memory, context):
        value, memory, metrics = _loss(outputs, memory, context)
        value = jnp.where(context.step == 1, jnp.nan, value)
        return value, memory, metrics | {"loss": value}

    objective = Objective(loss, views=("a",), target=OBJECTIVE.target, init_memory=OBJECTIVE.init_memory)
    states, metrics = _run(config, layout, 2, objective=objective)
    jax.tree.map(np.testing.assert_array_equal, states[2]._replace(step=1), states[1]._replace(step=1))
    assert metrics[1]["skipped_steps"] == 1


def test_a_run_resumes_with_target_and_memory_to_the_same_bits(config, layout, tmp_path):
    states, _ = _run(config, layout, 3)
    state, step, init = _start(config, layout)
    batches = list(_batches(3))
    state, _ = step(state, layout.shard(batches[0]))
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with open_checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore_newest(abstract_state(init), layout)
    for batch in batches[1:]:
        state, _ = step(state, layout.shard(batch))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), states[3])
