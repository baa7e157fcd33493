"""PCL v2: its loss and concentrations in float64 NumPy, cluster by cluster; one device against eight."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Moco, Pcl
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.losses.clustering import kmeans
from barlow_jax.objectives.pcl import concentrations, proto_nce
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import LossContext, Outputs, RunInfo

KEY = jax.random.key(0)
IMAGES, ROWS, WIDTH, CLUSTERS = 100, 16, 8, (6, 9)
INDEX = np.array([7, 99, *range(10, 23), 7], np.int32)  # the last image replaces one that cannot be decoded
INFO = RunInfo(("a", "b"), WIDTH, ROWS, IMAGES, steps_per_epoch=6)
SETTINGS = Pcl(
    clusters=CLUSTERS,
    iterations=3,
    negatives=50,
    temperature=0.3,
    warmup_epochs=2.0,
    target_momentum=0.75,
    queue_size=32,
)


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _pcl(**changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    return make_objective(config_lib.Objective(name="pcl", scale=2.0, pcl=settings), INFO)


def _clustered_memory(objective, seed=0):
    """Return a memory with any clusters; some images have none."""
    rng = np.random.default_rng(seed)
    memory = objective.init_memory(KEY)
    labels = [rng.integers(-1, clusters, size=1024) for clusters in CLUSTERS]
    memory["labels"] = np.stack(labels, axis=1).astype(np.int32)
    for m, clusters in enumerate(CLUSTERS):
        memory[f"prototypes_{m}"] = _unit(rng.normal(size=(clusters, WIDTH))).astype(np.float32)
        memory[f"phi_{m}"] = rng.uniform(0.2, 0.5, size=clusters).astype(np.float32)
    return memory


def _definition(memory, a, b, with_prototypes=True):
    """Return L in float64, with the prototypes of all clusters."""
    q, k = _unit(a.astype(np.float64)), _unit(b.astype(np.float64))
    logits = np.concatenate([np.sum(q * k, 1, keepdims=True), q @ memory["queue"].T], axis=1) / 0.3
    terms = [np.mean(np.log(np.exp(logits).sum(1)) - logits[:, 0])]
    for m in range(len(CLUSTERS) * with_prototypes):
        logits = q @ memory[f"prototypes_{m}"].T.astype(np.float64) / memory[f"phi_{m}"]
        y = memory["labels"][INDEX, m]
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(ROWS), y]
        terms.append(np.mean(losses * (y >= 0)) / len(CLUSTERS))
    return 2 * sum(terms)


def _run(objective, a, b, memory, devices, step):
    layout = Layout(make_mesh(devices))
    memory = jax.device_put(memory, layout.state_shardings({"memory": memory})["memory"])
    a, b, index = (jax.device_put(x, layout.batch) for x in (a, b, INDEX))

    def loss(a, b, memory, index):
        context = LossContext(None, step, KEY, {"b": Outputs(None, b)}, index=index)
        value, memory, metrics = objective.loss({"a": Outputs(None, a)}, memory, context)
        return value, (memory, metrics)

    (value, (new, metrics)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(a, b, memory, index)
    return value, gradient, jax.device_get(new), metrics


@pytest.mark.parametrize("step", [11, 12])
def test_the_loss_is_the_definition(devices, step):
    """Two epochs of 6 steps have no prototypes in the loss."""
    rng, objective = np.random.default_rng(1), _pcl()
    a, b = rng.normal(size=(2, ROWS, WIDTH)).astype(np.float32)
    memory = _clustered_memory(objective)
    value, gradient, new, metrics = _run(objective, a, b, memory, devices, step)
    memory = jax.tree.map(np.asarray, memory)
    reference = partial(_definition, memory, b=b, with_prototypes=step == 12)
    np.testing.assert_allclose([value, metrics["loss"]], reference(a=a), rtol=1e-6)
    direction = rng.normal(size=a.shape)
    above, below = (reference(a=a.astype(np.float64) + s * direction) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(np.vdot(gradient, direction), (above - below) / 2e-5, rtol=1e-4)
    k = _unit(b)
    np.testing.assert_allclose(new["queue"], np.concatenate([k, memory["queue"][:ROWS]]), atol=1e-6)
    np.testing.assert_allclose(new["bank"][INDEX[:-1]], k[:-1], atol=1e-6)  # the first of the repeated
    assert np.count_nonzero(np.any(new["bank"] != 0, axis=1)) == ROWS - 1


def test_without_clusters_it_is_moco():
    rng, objective = np.random.default_rng(1), _pcl(warmup_epochs=0.0)
    moco = make_objective(
        config_lib.Objective(name="moco", scale=2.0, moco=Moco(temperature=0.3, queue_size=32)), INFO
    )
    a, b = rng.normal(size=(2, ROWS, WIDTH)).astype(np.float32)
    memory = objective.init_memory(KEY)
    value, gradient, new, _ = _run(objective, a, b, memory, jax.devices()[:1], 0)
    expected = _run(moco, a, b, {"queue": memory["queue"]}, jax.devices()[:1], 0)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-6)
    np.testing.assert_array_equal(new["queue"], expected[2]["queue"])


def test_negatives_are_sampled_in_addition_to_the_prototypes_of_the_batch():
    """The term of the prototype k is 2^k, so that the bits of the sum are the prototypes in it."""
    clusters, r = 12, 4
    logits = np.log(2.0 ** np.arange(clusters)).astype(np.float32)
    queries = np.tile(np.eye(clusters, dtype=np.float32)[:1], (4, 1))
    prototypes = np.zeros((clusters, clusters), np.float32)
    prototypes[:, 0] = logits
    labels = np.array([3, 3, 8, -1])
    samples = []
    for seed in range(40):
        result = proto_nce(
            queries, labels, prototypes, np.ones(clusters), negatives=r, key=jax.random.key(seed)
        )
        loss = np.float64(result.loss) * 4 + (2 * logits[3] + logits[8])  # 3 log sum 2^k
        mask = round(np.exp(loss / 3))
        samples.append([bool(mask >> k & 1) for k in range(clusters)])
    samples = np.array(samples)
    assert np.all(samples[:, [3, 8]]) and np.all(samples.sum(1) == 2 + r)
    others = np.delete(samples, [3, 8], axis=1).mean(0)  # 4 of 10
    assert others.min() > 0.15 and others.max() < 0.65


def test_concentrations_are_equation_12():
    rng = np.random.default_rng(0)
    bank = _unit(rng.normal(size=(300, WIDTH))).astype(np.float32)
    labels = np.concatenate([np.full(20, -1), rng.integers(0, 10, size=279), [11]]).astype(np.int32)
    centroids = (0.5 * _unit(rng.normal(size=(13, WIDTH)))).astype(np.float32)  # 10, 12: empty; 11: one key
    phi = np.zeros(13)
    for k in range(10):
        distances = np.linalg.norm(bank[labels == k].astype(np.float64) - centroids[k], axis=1)
        phi[k] = distances.mean() / np.log(len(distances) + 10)
    phi[10:] = phi.max()
    phi = np.clip(phi, *np.percentile(phi, [10, 90]))
    result = concentrations(jnp.asarray(bank), jnp.asarray(centroids), jnp.asarray(labels), temperature=0.2)
    np.testing.assert_allclose(result, 0.2 * phi / phi.mean(), rtol=1e-6)
    same = concentrations(jnp.ones([8, 2]), jnp.ones([3, 2]), jnp.zeros(8, int), temperature=0.2)
    np.testing.assert_allclose(same, 0.2, rtol=1e-6)  # all distances are 0


def test_the_refresh_clusters_the_keys_at_each_number_of_clusters(devices):
    objective = _pcl()
    bank = np.zeros((1024, WIDTH), np.float32)
    bank[:IMAGES] = _unit(np.random.default_rng(0).normal(size=(IMAGES, WIDTH)))
    memory = objective.init_memory(KEY) | {"bank": bank}
    memory = jax.device_put(memory, Layout(make_mesh(devices)).state_shardings({"memory": memory})["memory"])
    new = jax.device_get(jax.jit(objective.refresh)(memory, KEY))
    assert (
        objective.refresh_every == 6 and objective.target.momentum(0) == 0.75 and new.keys() == memory.keys()
    )
    for m, clusters in enumerate(CLUSTERS):
        centroids, labels = kmeans(
            jax.random.fold_in(KEY, m),
            jnp.asarray(bank),
            clusters,
            iterations=3,
            spherical=False,
        )
        np.testing.assert_allclose(new[f"prototypes_{m}"], _unit(np.asarray(centroids)), atol=1e-6)
        np.testing.assert_array_equal(new["labels"][:, m], labels)
        assert np.mean(new[f"phi_{m}"]) == pytest.approx(0.3) and np.ptp(new[f"phi_{m}"]) > 0.01
    assert np.all(new["labels"][IMAGES:] == -1)


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"clusters": (5, 97)}, "pcl.clusters is 97"), ({"queue_size": 40}, "pcl.queue_size")],
)
def test_settings_that_do_not_fit_the_data_are_errors(changes, key):
    with pytest.raises(UserError, match=key):
        _pcl(**changes)
