"""DeepCluster-v2 (Caron et al. 2020, section 5 of SwAV): predict the cluster of an image's other embeddings.

H clusterings of all images, each with K centroids c_k on the unit sphere, label each image i with its cluster
y_hi. For the embeddings z of V views, on the unit sphere:

    L = -1/(H V N) sum_hvb log( exp(c_(y_hi) . z_vb / t) / sum_k exp(c_k . z_vb / t) )

The steps of an epoch fill a memory with the embeddings of views a and b of every image. After the epoch each
clustering is renewed from them by spherical k-means: from K random images, by turns those of view a and of
view b,

    y_i = argmax_k c_k . z_i,    c_k = unit(mean of z_i with y_i = k);    an empty cluster keeps its centroid

Centroids have no gradient. In the first epoch there are no clusters yet: it only fills the memory, its loss
is 0, and weight decay alone moves the parameters (the official code makes a pass over the data instead).
Images that do not fill the last batch of an epoch keep their embeddings of an earlier epoch, and have no
label before the first; in the official code they have none.
"""

from functools import partial

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Deepcluster
from barlow_jax.config.recipe import FULL_VIEWS
from barlow_jax.errors import UserError
from barlow_jax.losses import memory_bank
from barlow_jax.losses.contrastive import LossAndAccuracy, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Grouping, Objective, RunInfo

_PARTS = 1024  # of a bank's rows, which the devices hold in whole numbers (memory_bank)


def assign(bank: jax.Array, centroids: jax.Array) -> jax.Array:
    """Return the `[R]` int32 clusters of `[R, D]` unit rows, R a multiple of 1024, given `[K, D]` centroids.

    Similarities are computed for 1024 rows at a time, which all devices share.
    """
    parts = bank.reshape(_PARTS, -1, bank.shape[1]).swapaxes(0, 1)
    clusters = jax.lax.map(lambda rows: jnp.argmax(similarities(rows, centroids), axis=1), parts)
    return clusters.swapaxes(0, 1).reshape(-1).astype(jnp.int32)


def spherical_kmeans(
    key: jax.Array, bank: jax.Array, clusters: int, iterations: int = 10
) -> tuple[jax.Array, jax.Array]:
    """Return `[K, D]` centroids and the `[R]` int32 clusters of `[R, D]` unit rows.

    Rows of zeros have not been written yet. They belong to no cluster, -1.

    Args:
      key: Random key of the first centroids.
      bank: rows; R is a multiple of 1024, and K or more of them are not zero.
      clusters: K.
      iterations: Number of times that centroids are computed.
    """
    is_written = jnp.any(bank != 0, axis=1)
    weights = is_written / jnp.sum(is_written)
    start = jax.random.choice(key, len(bank), [clusters], replace=False, p=weights)

    def iterate(_, centroids):
        labels = jnp.where(is_written, assign(bank, centroids), clusters)  # dropped
        sums = jax.ops.segment_sum(bank, labels, clusters)
        return jnp.where(jnp.any(sums != 0, axis=1, keepdims=True), unit_rows(sums), centroids)

    centroids = jax.lax.fori_loop(0, iterations, iterate, bank[start])
    return centroids, jnp.where(is_written, assign(bank, centroids), -1)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views.

    Its memory is {"bank_a", "bank_b": `[R, D]` unit rows, 0 before the first; "labels": `[R, H]` int32
    clusters, -1 if there is none; "centroids": `[H, K, D]`}.

    Raises:
      UserError: If there are more clusters than images in an epoch.
    """
    settings = config.deepcluster
    images = run_info.batch_size * run_info.steps_per_epoch  # whole batches
    if run_info.num_images and settings.clusters > images:
        raise UserError(
            f"config.objective.deepcluster.clusters is {settings.clusters}, but an epoch has {images} "
            "images. Use fewer clusters."
        )

    def loss(outputs, memory, context):
        labels = memory["labels"][context.index]  # [B, H]
        units = {name: unit_rows(outputs[name].embedding) for name in run_info.views}
        centroids = jax.lax.stop_gradient(memory["centroids"])
        terms = [
            _cross_entropy(similarities(z, centroids[head]) / settings.temperature, labels[:, head])
            for z in units.values()
            for head in range(settings.heads)
        ]
        value, accuracy = (sum(values) / len(terms) for values in zip(*terms, strict=True))
        banks = {
            _bank(name): memory_bank.write(memory[_bank(name)], context.index, units[name])
            for name in FULL_VIEWS
        }
        metrics = {"loss": config.scale * value, "cluster_accuracy": accuracy}
        embeddings = [outputs[name].embedding for name in FULL_VIEWS]
        return (
            config.scale * value,
            memory | banks,
            metrics | embedding_statistics(embeddings, unit_length=True),
        )

    def init_memory(key):
        rows, width = memory_bank.num_rows(run_info.num_images), run_info.width
        return {_bank(name): jnp.zeros([rows, width]) for name in FULL_VIEWS} | {
            "labels": jnp.full([rows, settings.heads], -1, jnp.int32),
            "centroids": jnp.zeros([settings.heads, settings.clusters, width]),
        }

    return Objective(
        loss,
        grouping=Grouping(encoder="size", heads="together"),
        init_memory=init_memory,
        refresh=partial(_refresh, settings=settings),
        refresh_every=run_info.steps_per_epoch,
    )


def _refresh(memory: dict[str, jax.Array], key: jax.Array, settings: Deepcluster) -> dict[str, jax.Array]:
    """Cluster the banks anew, by turns."""
    banks = [memory[_bank(FULL_VIEWS[head % len(FULL_VIEWS)])] for head in range(settings.heads)]
    results = [
        spherical_kmeans(jax.random.fold_in(key, head), bank, settings.clusters, settings.iterations)
        for head, bank in enumerate(banks)
    ]
    centroids, labels = zip(*results, strict=True)
    return memory | {"centroids": jnp.stack(centroids), "labels": jnp.stack(labels, axis=1)}


def _bank(view: str) -> str:
    return f"bank_{view}"


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> LossAndAccuracy:
    """Return the mean cross-entropy and accuracy over `[N]` images; those without a label count as 0."""
    own = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[:, None], axis=1)[:, 0]
    losses = jnp.where(labels >= 0, jax.nn.logsumexp(logits, axis=1) - own, 0.0)
    return LossAndAccuracy(jnp.mean(losses), jnp.mean(jnp.argmax(logits, axis=1) == labels))
