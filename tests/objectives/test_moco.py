"""Compares with equation 1 of He et al. 2020 in float64 NumPy, query by query."""

import dataclasses

import jax
import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Moco
from barlow_jax.errors import UserError
from barlow_jax.objectives.moco import moco_loss
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH, QUEUE = 16, 6, 48
MOCO = Moco(queue_size=QUEUE, temperature=0.3, target_momentum=0.75)
CONFIG = config_lib.Objective(name="moco", scale=2.0, moco=MOCO)
RUN_INFO = RunInfo(batch_size=ROWS, width=WIDTH)
OBJECTIVE = make_objective(CONFIG, RUN_INFO)
MEMORY = jax.device_get(OBJECTIVE.init_memory(jax.random.key(0)))


def _inputs(scale=1.0, seed=0):
    """Return the outputs of view a, and the context with the keys of view b."""
    queries, noise = np.random.default_rng(seed).normal(size=(2, ROWS, WIDTH))
    keys = Outputs(None, np.float32(scale * (queries + 0.3 * noise)))
    outputs = {"a": Outputs(None, np.float32(scale * queries))}
    return outputs, loss_reference.loss_context(ROWS, targets={"b": keys})


def _unit(z):
    z = np.asarray(z, np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _definition(outputs, context, memory=MEMORY, temperature=CONFIG.moco.temperature):
    keys, terms, wins = _unit(context.targets["b"].embedding), [], []
    for q, k in zip(_unit(outputs["a"].embedding), keys, strict=True):
        positive, negatives = q @ k, memory["queue"].astype(np.float64) @ q
        together = np.exp(positive / temperature) + np.sum(np.exp(negatives / temperature))
        terms.append(-np.log(np.exp(positive / temperature) / together))
        wins.append(positive > negatives.max())
    return CONFIG.scale * np.mean(terms), np.mean(wins)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e25])
def test_value_and_accuracy_are_the_definitions_at_any_length(scale):
    outputs, context = _inputs(scale)
    value, _, _, metrics = loss_reference.run(OBJECTIVE, outputs, MEMORY, context)
    loss, accuracy = _definition(outputs, context)
    np.testing.assert_allclose([value, metrics["loss"]], loss, rtol=2e-6)
    np.testing.assert_allclose(metrics["contrast_accuracy"], accuracy, rtol=1e-6)
    assert 0.2 < accuracy < 1


def test_gradients_are_those_of_the_definition():
    outputs, context = _inputs()
    _, gradients, _, _ = loss_reference.run(OBJECTIVE, outputs, MEMORY, context)
    loss_reference.assert_slopes(lambda outputs: _definition(outputs, context)[0], outputs, gradients)


def test_keys_and_queue_have_no_gradient():
    outputs, context = _inputs()
    arrays = outputs["a"].embedding, context.targets["b"].embedding, MEMORY["queue"]
    gradients = jax.grad(lambda *arrays: moco_loss(*arrays, temperature=0.2).loss, argnums=(0, 1, 2))(*arrays)
    assert np.all(gradients[0] != 0) and not np.any(gradients[1]) and not np.any(gradients[2])


def test_one_device_and_eight_agree_including_their_queues():
    outputs, context = _inputs()
    loss_reference.assert_one_device_matches_eight(OBJECTIVE, outputs, MEMORY, context)


def test_the_queue_starts_as_random_unit_rows():
    queue = MEMORY["queue"]
    assert queue.shape == (QUEUE, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(queue, axis=1), 1, rtol=1e-6)
    assert np.any(queue != OBJECTIVE.init_memory(jax.random.key(1))["queue"])
    assert np.linalg.norm(queue.mean(axis=0)) < 0.5


def test_keys_enter_the_queue_after_their_own_loss_and_leave_it_in_order():
    memory, seen = MEMORY, []
    for number in range(4):
        outputs, context = _inputs(seed=number)
        value, _, after, _ = loss_reference.run(OBJECTIVE, outputs, memory, context)
        np.testing.assert_allclose(value, _definition(outputs, context, memory)[0], rtol=2e-6)
        seen.insert(0, _unit(context.targets["b"].embedding))
        memory = after
    np.testing.assert_allclose(memory["queue"], np.concatenate(seen[:3]), atol=1e-6)


def test_one_view_goes_through_each_network_and_the_momentum_is_constant():
    target = OBJECTIVE.target
    assert (OBJECTIVE.views, target.views) == (("a",), ("b",))
    assert target.momentum(jnp.int32(0)) == target.momentum(jnp.int32(10**6)) == np.float32(0.75)


def test_bfloat16_operands_change_the_loss_a_little():
    outputs, context = _inputs()
    objective = make_objective(dataclasses.replace(CONFIG, operand_dtype="bfloat16"), RUN_INFO)
    actual = loss_reference.run(objective, outputs, MEMORY, context)[0]
    assert actual != loss_reference.run(OBJECTIVE, outputs, MEMORY, context)[0]
    np.testing.assert_allclose(actual, _definition(outputs, context)[0], rtol=1e-2)


@pytest.mark.parametrize("level", [0.0, 3.0, 1e30])
def test_a_collapsed_batch_is_finite_and_detected(level):
    constant = np.full((ROWS, WIDTH), level, np.float32)
    context = loss_reference.loss_context(ROWS, targets={"b": Outputs(None, constant)})
    memory = {"queue": np.tile(_unit(constant + 1).astype(np.float32)[:1], (QUEUE, 1)) * bool(level)}
    value, gradients, after, metrics = loss_reference.run(
        OBJECTIVE, {"a": Outputs(None, constant)}, memory, context
    )
    np.testing.assert_allclose(value, CONFIG.scale * np.log(1 + QUEUE), rtol=1e-6)
    loss_reference.assert_finite((gradients, after))
    assert metrics["embedding_spread"] == 0


@pytest.mark.parametrize("size", [QUEUE + 1, ROWS // 2])
def test_a_queue_that_is_not_a_multiple_of_the_batch_is_refused(size):
    config = dataclasses.replace(CONFIG, moco=Moco(queue_size=size))
    with pytest.raises(UserError, match=r"config\.objective\.moco\.queue_size .*multiple"):
        make_objective(config, RUN_INFO)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(4, 3\), \(4, 3\) and \(8, 2\)"):
        moco_loss(jnp.zeros((4, 3)), jnp.zeros((4, 3)), jnp.zeros((8, 2)), temperature=0.1)
