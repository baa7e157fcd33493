"""NPID and DeepCluster-v2: definitions in float64 NumPy, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Deepcluster, Npid
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.losses import memory_bank
from barlow_jax.losses.clustering import kmeans
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import LossContext, Outputs, RunInfo

KEY = jax.random.key(0)
IMAGES, ROWS, WIDTH = 100, 16, 8
INFO = RunInfo(("a",), WIDTH, ROWS, IMAGES, steps_per_epoch=6)
TWO_VIEWS = RunInfo(("a", "b"), WIDTH, ROWS, IMAGES, steps_per_epoch=6)
INDEX = np.array([7, 99, *range(10, 23), 7], np.int32)  # the last image replaces one that cannot be decoded


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _embedding(seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, WIDTH)).astype(np.float32)


def _npid(settings):
    return make_objective(config_lib.Objective(name="npid", npid=settings), INFO)


def _run(objective, views, devices, memory=None):
    """Return loss, gradients by view, memory and metrics under jit on a mesh."""
    layout = Layout(make_mesh(devices))
    memory = objective.init_memory(KEY) if memory is None else memory
    memory = jax.device_put(memory, layout.state_shardings({"memory": memory})["memory"])
    arrays = [jax.device_put(x, layout.batch) for x in (views, INDEX)]

    def loss(views, memory, index):
        outputs = {name: Outputs(None, z) for name, z in views.items()}
        value, memory, metrics = objective.loss(outputs, memory, LossContext(None, key=KEY, index=index))
        return value, (memory, metrics)

    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (new, metrics)), gradients = jax.jit(gradient)(arrays[0], memory, arrays[1])
    return value, gradients, jax.device_get(new), metrics


@pytest.mark.parametrize("shape", [(1, 1024), (1024, 1024), (1025, 2048), (1281167, 1282048)])
def test_a_bank_has_whole_rows_for_every_power_of_two_of_devices(shape):
    assert memory_bank.num_rows(shape[0]) == shape[1]


def _softmax(bank, v):
    logits = _unit(v) @ bank[:IMAGES].T / 0.2
    return np.mean(np.log(np.sum(np.exp(logits), 1)) - logits[np.arange(ROWS), INDEX])


def test_npid_is_the_cross_entropy_over_the_bank(devices):
    objective, v = _npid(Npid(temperature=0.2, momentum=0.75)), _embedding()
    bank = np.asarray(objective.init_memory(KEY)["bank"], np.float64)
    assert bank.shape == (1024, WIDTH) and np.mean(np.sum(bank**2, 1)) == pytest.approx(1, abs=0.05)
    value, gradients, memory, _ = _run(objective, {"a": v}, devices)
    np.testing.assert_allclose(value, _softmax(bank, v), rtol=1e-6)
    direction = np.random.default_rng(1).normal(size=v.shape)
    above, below = (_softmax(bank, v.astype(np.float64) + s * direction) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(np.vdot(gradients["a"], direction), (above - below) / 2e-5, rtol=1e-4)
    expected = bank.copy()
    expected[INDEX[:-1]] = _unit(0.75 * bank[INDEX[:-1]] + 0.25 * _unit(v[:-1]))  # the first of the repeated
    np.testing.assert_allclose(memory["bank"], expected, atol=1e-6)


def test_npid_over_sampled_negatives():
    objective, v = _npid(Npid(negatives=40)), _embedding()
    bank = np.asarray(objective.init_memory(KEY)["bank"], np.float64)
    sample = np.asarray(jax.random.randint(KEY, [40], 0, IMAGES))
    logits = _unit(v) @ bank.T / 0.07
    terms = [
        np.log(np.exp(row[i]) + sum(np.exp(row[j]) for j in sample if j != i)) - row[i]
        for row, i in zip(logits, INDEX, strict=True)
    ]
    np.testing.assert_allclose(_run(objective, {"a": v}, jax.devices()[:1])[0], np.mean(terms), rtol=1e-6)


def test_nce_keeps_the_constant_of_the_first_batch():
    objective = _npid(Npid(negatives=40, loss="nce", temperature=0.5))
    memory = objective.init_memory(KEY)
    bank, sample = (
        np.asarray(memory["bank"], np.float64),
        np.asarray(jax.random.randint(KEY, [40], 0, IMAGES)),
    )
    z, noise = 0.0, 40 / IMAGES
    for seed in range(2):
        v = _embedding(seed)
        logits = _unit(v) @ bank.T / 0.5
        scores = np.exp(np.concatenate([logits[np.arange(ROWS), INDEX][:, None], logits[:, sample]], 1))
        z = z or IMAGES * scores.mean()
        p = scores / z
        expected = -np.mean(np.log(p[:, 0] / (p[:, 0] + noise)) + np.log(noise / (p[:, 1:] + noise)).sum(1))
        value, _, memory, _ = _run(objective, {"a": v}, jax.devices()[:1], memory)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(memory["z"], z, rtol=1e-6)
        bank = np.asarray(memory["bank"], np.float64)


def test_nce_needs_negatives():
    with pytest.raises(UserError, match="negatives"):
        _npid(Npid(loss="nce"))


def _deepcluster(clusters=5, **changes):
    settings = Deepcluster(clusters=clusters, heads=3, iterations=1, temperature=0.2, **changes)
    return make_objective(config_lib.Objective(name="deepcluster", deepcluster=settings), TWO_VIEWS)


def test_deepcluster_fills_the_memory_in_the_first_epoch(devices):
    views = {"a": _embedding(0), "b": _embedding(1)}
    value, gradients, memory, _ = _run(_deepcluster(), views, devices)
    assert value == 0 and not np.any(gradients["a"]) and not np.any(gradients["b"])
    for name, z in views.items():
        written = np.any(memory[f"bank_{name}"] != 0, axis=1)
        assert set(np.flatnonzero(written)) == set(INDEX)
        np.testing.assert_allclose(memory[f"bank_{name}"][INDEX[:-1]], _unit(z[:-1]), rtol=1e-6)


def test_deepcluster_is_the_cross_entropy_of_the_labels(devices):
    rng, views = np.random.default_rng(2), {"a": _embedding(0), "b": _embedding(1)}
    objective = _deepcluster()
    centroids = _unit(rng.normal(size=(3, 5, WIDTH))).astype(np.float32)
    labels = rng.integers(-1, 5, size=(1024, 3)).astype(np.int32)
    memory = objective.init_memory(KEY) | {"centroids": centroids, "labels": labels}

    def reference(views):
        terms = []
        for z in views.values():
            logits = np.einsum("hkd,bd->bhk", centroids.astype(np.float64), _unit(z)) / 0.2
            own = np.take_along_axis(logits, np.maximum(labels[INDEX], 0)[..., None], 2)[..., 0]
            terms.append(np.where(labels[INDEX] >= 0, np.log(np.exp(logits).sum(2)) - own, 0))
        return np.mean(terms)

    value, gradients, _, _ = _run(objective, views, devices, memory)
    np.testing.assert_allclose(value, reference(views), rtol=1e-6)
    direction = rng.normal(size=(ROWS, WIDTH))
    moved = [views | {"b": views["b"].astype(np.float64) + s * direction} for s in (1e-5, -1e-5)]
    expected = (reference(moved[0]) - reference(moved[1])) / 2e-5
    np.testing.assert_allclose(np.vdot(gradients["b"], direction), expected, rtol=1e-4)


def test_the_refresh_uses_both_views_by_turns():
    objective = _deepcluster()
    rng = np.random.default_rng(0)
    banks = {f"bank_{n}": np.zeros((1024, WIDTH), np.float32) for n in "ab"}
    for bank in banks.values():
        bank[:IMAGES] = _unit(rng.normal(size=(IMAGES, WIDTH)))
    new = jax.jit(objective.refresh)(objective.init_memory(KEY) | banks, KEY)
    for head, name in enumerate("aba"):
        bank, centroids = banks[f"bank_{name}"], np.asarray(new["centroids"][head])
        once, _ = kmeans(jax.random.fold_in(KEY, head), jnp.asarray(bank), 5, iterations=1)
        np.testing.assert_allclose(centroids, once, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(
            new["labels"][:IMAGES, head], np.argmax(bank[:IMAGES] @ centroids.T, axis=1)
        )
    assert np.all(new["labels"][IMAGES:] == -1) and objective.refresh_every == 6


def test_more_clusters_than_images_are_an_error():
    with pytest.raises(UserError, match="clusters is 97"):
        _deepcluster(clusters=97)


def test_the_classifier_is_trained_by_the_gradient_of_its_cross_entropy(devices):
    """Logits are those of the embedding as it is; all H V N labels weigh equally."""
    rng, views = np.random.default_rng(3), {"a": 2 * _embedding(0), "b": _embedding(1)}
    objective = _deepcluster(classifier_learning_rate=4.0)  # of 256 images; 16 have 1/16 of it
    assert "centroids" not in objective.init_memory(KEY)
    labels = rng.integers(-1, 5, size=(1024, 3)).astype(np.int32)
    weights, biases = (rng.normal(size=(3, 5, *shape)).astype(np.float32) for shape in ((WIDTH,), ()))
    memory = objective.init_memory(KEY) | {"labels": labels, "weights": weights, "biases": biases}

    def reference(views):
        """Return the loss and its gradient with respect to the logits, by view."""
        terms, gradients = [], {}
        for name, z in views.items():
            logits = np.einsum("hkd,bd->bhk", weights.astype(np.float64), z) + biases
            p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
            y, has_label = labels[INDEX], (labels[INDEX] >= 0)[..., None]
            one_hot = np.eye(5)[np.maximum(y, 0)]
            terms.append(-np.sum(has_label * one_hot * np.log(p), axis=2))
            gradients[name] = has_label * (p - one_hot) / (3 * 2 * ROWS)
        return np.mean(terms), gradients

    value, gradients, new, _ = _run(objective, views, devices, memory)
    expected, by_logits = reference(views)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name, by_logit in by_logits.items():
        np.testing.assert_allclose(
            gradients[name], np.einsum("bhk,hkd->bd", by_logit, weights), rtol=1e-4, atol=1e-7
        )
    slopes = sum(np.einsum("bhk,bd->hkd", by_logits[name], z) for name, z in views.items())
    np.testing.assert_allclose(new["weights"], weights - slopes / 4, rtol=1e-5, atol=1e-6)
    slopes = sum(by_logits[name].sum(0) for name in views)
    np.testing.assert_allclose(new["biases"], biases - slopes / 4, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(new["bank_a"][INDEX[:-1]], axis=1), 1, rtol=1e-6)


def test_the_classifier_starts_again_after_each_clustering():
    objective = _deepcluster(classifier_learning_rate=0.05)
    bank = np.zeros((1024, WIDTH), np.float32)
    bank[:IMAGES] = _unit(np.random.default_rng(0).normal(size=(IMAGES, WIDTH)))
    memory = objective.init_memory(KEY) | {"bank_a": bank, "bank_b": bank, "biases": np.ones((3, 5))}
    refresh = jax.jit(objective.refresh)
    new, other = refresh(memory, KEY), refresh(memory, jax.random.key(1))
    assert new.keys() == memory.keys() and not np.any(new["biases"])
    assert np.std(new["weights"]) == pytest.approx(0.01, rel=0.2) and np.all(new["labels"][:IMAGES] >= 0)
    assert not np.any(new["weights"] == other["weights"])


def test_selas_clusters_have_equal_sizes():
    rng, bank = np.random.default_rng(0), np.zeros((1024, WIDTH), np.float32)
    bank[:IMAGES] = _unit(rng.normal(size=(IMAGES, WIDTH)) + 2 * np.eye(WIDTH)[0])
    banks = {"bank_a": bank, "bank_b": bank}

    def sizes(**changes):
        objective = _deepcluster(**changes)
        labels = jax.jit(objective.refresh)(objective.init_memory(KEY) | banks, KEY)["labels"]
        assert np.all(labels[IMAGES:] == -1)
        return np.stack([np.bincount(column, minlength=5) for column in labels[:IMAGES].T])

    # The largest element of a soft code, so that sizes are not exactly 20.
    assert np.max(np.abs(sizes(sinkhorn_epsilon=0.05) - 20)) <= 5
    assert np.max(np.abs(sizes() - 20)) > 12
