"""Candidates of continued pretraining: scores, gains, averages and anchors, on one and eight devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.errors import UserError
from barlow_jax.evals import label_free
from barlow_jax.experiment import candidates
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.losses.feature_anchor import with_feature_anchor
from barlow_jax.training.step import compile_step
from barlow_jax.types import Batch, LossContext, Objective, Outputs, Target


def test_gains_are_those_of_the_same_images():
    rng = np.random.default_rng(0)
    start, noise = rng.random(400), rng.normal(0, 0.1, 400)
    mean, lower = candidates.gain(start + 0.05 + noise, start)
    assert mean == pytest.approx(0.05 + noise.mean())
    assert lower == pytest.approx(mean - 2 * noise.std(ddof=1) / 20)
    assert candidates.gain(start, start) == (0, 0)


@pytest.mark.parametrize(
    ("second", "best", "gain"),
    [
        ((0.02, 0.035, -0.01, -0.1), 1, 0.2),  # the path is confirmed; the last two fall below the start
        ((0.01, 0.02, 0.035, 0.001), 3, 0.4),
        ((0.01, 0.02, 0.025, 0.0), 2, -0.005),  # of what is missing to 3 %
    ],
)
def test_the_second_score_confirms_a_path_and_the_first_one_ranks_its_candidates(second, best, gain):
    start = np.stack([np.zeros(9), np.ones(9)])
    scores = [start + np.array([[0.1 * (i + 1)], [x]]) for i, x in enumerate(second)]
    index, gains = candidates.best_on_path(scores, start)
    assert index == best
    np.testing.assert_allclose(gains, gain, atol=1e-9)
    index, gains = candidates.best_on_path([rows[:1] for rows in scores], start[:1])  # accuracy alone
    assert index == 3
    np.testing.assert_allclose(gains, 0.4)


def test_a_candidate_lies_on_the_way_from_start_to_end():
    start = EncoderState({"encoder": jnp.array([0.0, 8.0])}, {"encoder": jnp.array([1.0])}, 0)
    end = {"encoder": jnp.array([4.0, 0.1]), "projector": jnp.zeros(3)}, {"encoder": jnp.array([3.0])}
    params, stats = candidates.Candidate(False, 0.25).encoder(start, end)
    np.testing.assert_allclose(params["encoder"], [1.0, 6.025], rtol=1e-6)
    np.testing.assert_array_equal(stats["encoder"], [1.5])
    params, _ = candidates.Candidate(False, 1.0).encoder(start, end)
    assert params.keys() == {"encoder"}
    np.testing.assert_array_equal(params["encoder"], end[0]["encoder"])


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _nearest(x, k):
    cosines = _unit(x) @ _unit(x).T - 9 * np.eye(len(x))
    return np.argsort(-cosines, axis=1)[:, :k]


def test_scores_of_images_are_their_definitions():
    rng = np.random.default_rng(0)
    views = (rng.normal(size=[40, 1, 6]) + 0.7 * rng.normal(size=[40, 3, 6])).astype(np.float32)
    u = _unit(views)
    hits = [
        np.argmax(u[:, i] @ u[:, j].T, axis=1) == np.arange(40) for i in range(3) for j in range(3) if i != j
    ]
    found = label_free.view_retrieval(jnp.asarray(views))
    np.testing.assert_allclose(found, np.mean(hits, axis=0), atol=1e-6)
    assert 0.1 < float(found.mean()) < 0.9
    near = _nearest(u.mean(axis=1), 10)
    neighbors = label_free.mean_neighbors(jnp.asarray(views))
    np.testing.assert_array_equal(np.sort(neighbors), np.sort(near))
    singles = [_nearest(views[:, i], 10) for i in range(3)]
    expected = [
        np.mean([len({*a} & {*b}) / 10 for b in rows])
        for a, rows in zip(near, zip(*singles, strict=True), strict=True)
    ]
    np.testing.assert_allclose(
        label_free.neighbor_recovery(jnp.asarray(views), neighbors), expected, atol=1e-6
    )


def test_the_feature_anchor_adds_the_squared_distance_of_unit_features():
    plain = Objective(lambda outputs, memory, context: (jnp.float32(2), memory, {"loss": jnp.float32(2)}))
    x, start = (np.random.default_rng(seed).normal(size=[5, 4]) for seed in range(2))
    outputs, targets = ({"a": Outputs(jnp.asarray(rows))} for rows in (x, start))
    anchored = with_feature_anchor(plain, 3.0, ("a",))
    value, _, metrics = anchored.loss(outputs, {}, LossContext(jnp.zeros(5), targets=targets))
    drift = np.mean(np.sum((_unit(x) - _unit(start)) ** 2, axis=1))
    np.testing.assert_allclose([value, metrics["loss"]], 2 + 3 * drift, rtol=1e-5)
    np.testing.assert_allclose(metrics["feature_drift"], drift, rtol=1e-5)
    assert anchored.target.momentum(jnp.int32(7)) == 1
    with pytest.raises(UserError):
        with_feature_anchor(dataclasses.replace(plain, target=Target(lambda step: 0.9, ("a",))), 1.0, ("a",))


@pytest.fixture
def adapt(small_config, typed, finished):
    """Function of devices: the state before and after a step with both parts of the schedule, on the host."""
    small_config.adapt.weights, small_config.adapt.anchor = str(finished), "features"
    small_config.adapt.freeze = small_config.optim.warmup_epochs = small_config.monitor.every_epochs = 0.0
    small_config.adapt.encoder_rate = 0.5
    small_config.train.average_decay = 0.9
    small_config.train.batch_size = 32
    config, pixels = (
        typed(small_config),
        np.random.default_rng(0).integers(0, 256, [2, 32, 8, 8, 3], np.uint8),
    )
    batch = Batch(dict(zip("ab", pixels, strict=True)), np.zeros(32, np.int32), np.arange(32, dtype=np.int32))

    def run(devices):
        experiment = Experiment.from_config(config, devices)
        sampler = experiment.sampler(64)
        state = experiment.first_state(sampler)
        start = jax.device_get(state)
        step = compile_step(experiment.layout, state, experiment.step_parts(sampler))
        state, _ = step(state, experiment.layout.shard(batch))
        return start, jax.device_get(state)

    return run


def test_a_step_moves_encoder_and_average_and_keeps_the_anchor(adapt, relative):
    start, end = adapt(jax.devices())
    expected = jax.tree.map(lambda x, y: 0.9 * x + 0.1 * y, start.average["params"], end.params)
    assert relative(end.average["params"], expected) < 1e-6
    assert end.evaluated()[0] is end.average["params"]
    assert (
        float(optax.tree.norm(jax.tree.map(np.subtract, end.params["encoder"], start.params["encoder"]))) > 0
    )
    jax.tree.map(np.testing.assert_array_equal, end.target["params"]["encoder"], start.params["encoder"])


@pytest.mark.slow
def test_one_and_eight_devices_adapt_in_the_same_way(adapt, relative):
    (_, one), (_, eight) = adapt(jax.devices()[:1]), adapt(jax.devices())
    assert relative(eight.params, one.params) < 1e-5 and relative(eight.average, one.average) < 1e-5
