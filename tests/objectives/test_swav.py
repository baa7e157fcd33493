"""Compares with equations 1 to 5 of Caron et al. 2020 in float64 NumPy, with the official queue."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Swav
from barlow_jax.errors import UserError
from barlow_jax.networks.network import Network
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH, PROTOTYPES, QUEUE, EPOCH = 16, 6, 5, 32, 10
VIEWS = ("a", "b", "c", "d")
RUN_INFO = RunInfo(views=VIEWS, width=WIDTH, batch_size=ROWS, steps_per_epoch=EPOCH)
PLAIN = Swav(temperature=0.2, epsilon=0.1, sinkhorn_iterations=2, freeze_prototypes_epochs=1.0)
QUEUED = dataclasses.replace(PLAIN, queue_size=QUEUE, queue_from_epoch=2.0)


@functools.cache
def _objective(settings=PLAIN):
    return make_objective(config_lib.Objective(name="swav", scale=2.0, swav=settings), RUN_INFO)


def _unit(z, axis=1):
    z = np.asarray(z, np.float64)
    return z / np.linalg.norm(z, axis=axis, keepdims=True)


VECTORS = _unit(np.random.default_rng(9).normal(size=(WIDTH, PROTOTYPES)), axis=0)


def _embeddings(seed=0):
    """Return embeddings of views that agree in part."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(ROWS, WIDTH)) + 0.5
    return {name: (image + 0.7 * rng.normal(size=image.shape)).astype(np.float32) for name in VIEWS}


def _outputs(embeddings):
    return {n: Outputs(None, z, scores=np.float32(_unit(z) @ VECTORS)) for n, z in embeddings.items()}


def _context(step=10 * EPOCH):
    return loss_reference.loss_context(ROWS, step=jnp.int32(step), prototypes=jnp.float32(VECTORS))


def _codes(scores, queue=None):
    """Return the codes by Sinkhorn's plain iteration, with the queue first."""
    together = scores if queue is None else np.concatenate([queue.astype(np.float64) @ VECTORS, scores])
    q = np.exp(together / PLAIN.epsilon).T
    q /= q.sum()
    for _ in range(PLAIN.sinkhorn_iterations):
        q /= q.sum(axis=1, keepdims=True) * PROTOTYPES
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return (q / q.sum(axis=0)).T[-ROWS:]


def _definition(scores, codes):
    total = 0.0
    for i in "ab":
        for v in VIEWS:
            if v != i:
                p = np.exp(scores[v] / PLAIN.temperature)
                log_p = np.log(p / p.sum(axis=1, keepdims=True))
                total += -np.mean(np.sum(codes[i] * log_p, axis=1)) / (len(VIEWS) - 1)
    return 2.0 * total / 2


def _expected(embeddings, queues=None):
    scores = {name: _unit(z) @ VECTORS for name, z in embeddings.items()}
    codes = {name: _codes(scores[name], queues and queues[name]) for name in "ab"}
    return _definition(scores, codes), codes


@pytest.mark.parametrize("step", [0, EPOCH - 1, EPOCH])
def test_the_value_is_the_definitions_frozen_or_not(step):
    embeddings = _embeddings()
    value, _, memory, metrics = loss_reference.run(_objective(), _outputs(embeddings), {}, _context(step))
    expected, codes = _expected(embeddings)
    np.testing.assert_allclose([value, metrics["loss"]], expected, rtol=2e-6)
    entropy = np.mean([-np.sum(q * np.log(q)) / ROWS for q in codes.values()]) / np.log(PROTOTYPES)
    np.testing.assert_allclose(metrics["code_entropy"], entropy, rtol=1e-4)
    assert 0.05 < entropy < 0.95 and memory == {}


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_are_those_of_the_definition_with_its_codes_held(frozen):
    """They are those of the scores or, while prototypes are frozen, of the embeddings."""
    embeddings = _embeddings()
    codes = _expected(embeddings)[1]
    context = _context(0 if frozen else EPOCH)
    gradients = loss_reference.run(_objective(), _outputs(embeddings), {}, context)[1]
    embedding_gradients = {name: gradients[name].embedding for name in VIEWS}
    score_gradients = {name: gradients[name].scores for name in VIEWS}

    def definition(z):
        return _definition({name: _unit(z[name]) @ VECTORS for name in VIEWS}, codes)

    if frozen:
        loss_reference.assert_slopes(definition, embeddings, embedding_gradients)
        assert not any(np.any(g) for g in score_gradients.values())
    else:
        scores = {name: _unit(z) @ VECTORS for name, z in embeddings.items()}
        loss_reference.assert_slopes(lambda s: _definition(s, codes), scores, score_gradients)
        assert not any(np.any(g) for g in embedding_gradients.values())


def _prototype_gradients(step, settings):
    """Return the gradients of embeddings and prototypes."""
    embeddings, context = _embeddings(), _context(step)

    def loss(embeddings, vectors):
        outputs = {
            name: Outputs(None, z, scores=z / jnp.linalg.norm(z, axis=1, keepdims=True) @ vectors)
            for name, z in embeddings.items()
        }
        return _objective(settings).loss(outputs, {}, context)[0]

    return jax.jit(jax.grad(loss, argnums=(0, 1)))(embeddings, jnp.float32(VECTORS))


def test_prototypes_have_no_gradient_in_the_first_epochs_and_embeddings_have_the_same():
    (frozen, none), (free, some) = (_prototype_gradients(step, PLAIN) for step in (EPOCH - 1, EPOCH))
    assert not np.any(none) and np.all(some != 0)
    for name in VIEWS:
        np.testing.assert_allclose(frozen[name], free[name], rtol=1e-4, atol=1e-6)
    never = _prototype_gradients(0, dataclasses.replace(PLAIN, freeze_prototypes_epochs=0.0))[1]
    np.testing.assert_allclose(never, some, rtol=1e-5, atol=1e-6)


def test_the_queue_fills_from_its_epoch_on_and_counts_when_it_is_full():
    objective, start = _objective(QUEUED), 2 * EPOCH
    memory, rows = objective.init_memory(jax.random.key(0)), {"a": [], "b": []}
    for step in (start - 1, start, start + 1, start + 2, start + 3):
        embeddings = _embeddings(step)
        value, _, after, _ = loss_reference.run(objective, _outputs(embeddings), memory, _context(step))
        full = len(rows["a"]) >= QUEUE // ROWS
        expected, _ = _expected(embeddings, memory if full else None)
        np.testing.assert_allclose(value, expected, rtol=2e-6)
        assert full == (step >= start + 2)
        for name in "ab":
            if step >= start:
                rows[name].insert(0, _unit(embeddings[name]))
            newest = np.concatenate([*rows[name], np.zeros((QUEUE, WIDTH))])[:QUEUE]
            np.testing.assert_allclose(after[name], newest, atol=1e-6)
        memory = after
    assert abs(expected - _expected(embeddings)[0]) > 1e-3, "a full queue must change the codes"


@pytest.mark.parametrize("filled", [False, True])
def test_one_device_and_eight_agree_including_their_queues(filled):
    queues = np.random.default_rng(3).normal(size=(2, QUEUE, WIDTH))
    memory = {name: np.float32(_unit(q)) * filled for name, q in zip("ab", queues, strict=True)}
    loss_reference.assert_one_device_matches_eight(
        _objective(QUEUED), _outputs(_embeddings()), memory, _context()
    )


def test_prototypes_are_scaled_to_unit_columns(small_config, typed):
    small_config.network.prototypes = PROTOTYPES
    network = Network(typed(small_config).network)
    params, _ = network.init(jax.random.key(0))
    constrained = _objective().constrain(params)
    before, after = network.prototypes(params), network.prototypes(constrained)
    np.testing.assert_allclose(after, _unit(before, axis=0), rtol=1e-5)
    assert jax.tree.structure(constrained) == jax.tree.structure(params)
    assert constrained["projector"] is params["projector"]


@pytest.mark.parametrize("level", [0.0, 1.0, 1e30])
def test_a_collapsed_batch_is_finite_and_detected(level):
    """If all embeddings are one vector, codes are uniform."""
    constant = np.full((ROWS, WIDTH), level, np.float32)
    scores = np.float32(_unit(constant + (level == 0)) @ VECTORS) * bool(level)
    outputs = {name: Outputs(None, constant, scores=scores) for name in VIEWS}
    for step in (0, EPOCH):
        value, gradients, _, metrics = loss_reference.run(_objective(), outputs, {}, _context(step))
        assert np.isfinite(value)
        loss_reference.assert_finite(gradients)
        np.testing.assert_allclose(metrics["code_entropy"], 1, rtol=1e-5)
        assert metrics["embedding_spread"] == 0


def test_grouping_is_encoder_by_size_and_heads_together():
    grouping = _objective().grouping
    sizes = {"a": 32, "b": 32, "c": 16, "d": 16}
    assert grouping.encoder_groups(sizes) == [("a", "b"), ("c", "d")]
    assert grouping.head_groups(sizes) == [VIEWS]


@pytest.mark.parametrize("size", [QUEUE + 1, ROWS // 2])
def test_a_queue_that_is_not_a_multiple_of_the_batch_is_refused(size):
    with pytest.raises(UserError, match=r"config\.objective\.swav\.queue_size .*multiple"):
        _objective(dataclasses.replace(PLAIN, queue_size=size))
