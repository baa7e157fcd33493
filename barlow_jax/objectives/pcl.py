"""PCL v2 (Li et al. 2021): MoCo v2, and the prototype of an image's cluster among other prototypes.

M clusterings of all images have K_m prototypes c_k on the unit sphere with concentrations phi_k, and label
image i with its cluster y_mi. For the query q of view a, the key k of view b by the target network, and the
queue of older keys, all on the unit sphere:

    L    = InfoNCE(q, k, queue) - 1/(M N) sum_mb log P_mb
    P_mb = exp(q_b . c_(y_mb) / phi_(y_mb)) / sum_k exp(q_b . c_k / phi_k)

InfoNCE is MoCo's (`objectives/moco.py`). The second term is 0 for the first `warmup_epochs`. The sum
over k contains the prototypes of the batch and r others, which each step samples.

The steps of an epoch fill a memory with the keys of every image. After the epoch k-means clusters them
(`losses/clustering.py`, Euclidean), and prototypes are its centroids scaled to length 1. A cluster of n keys
z with the centroid m has the concentration of equation 12,

    phi = sum |z - m| / (n log(n + 10))

Clusters of one key have the largest phi of the others. All are clipped to the 10th and 90th percentile, and
scaled to the mean t.

In the official code a pass over the data by the target network in evaluation mode, with center crops, gives
what is clustered; k-means is the best of five; a prototype of several images of a batch counts several
times; and nothing is clustered in the first epochs. Images without a key have no second term.
"""

from functools import partial

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Pcl
from barlow_jax.losses import clustering, memory_bank
from barlow_jax.losses.contrastive import LossAndAccuracy, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.queue import check_queue_size, push
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.objectives.moco import moco_loss
from barlow_jax.types import Objective, RunInfo, Target


def concentrations(
    bank: jax.Array, centroids: jax.Array, labels: jax.Array, *, temperature: float
) -> jax.Array:
    """Return the `[K]` concentrations of clusters.

    Args:
      bank: `[R, D]` keys.
      centroids: `[K, D]`, not scaled.
      labels: `[R]` clusters, -1 for none.
      temperature: t, the mean of the concentrations.
    """
    members = jnp.where(labels >= 0, labels, len(centroids))  # the others are dropped
    distances = jnp.linalg.norm(bank - centroids[labels], axis=1)
    sums, sizes = (
        jax.ops.segment_sum(rows, members, len(centroids)) for rows in (distances, jnp.ones(len(bank)))
    )
    is_estimated = (sizes > 1) & (sums > 0)
    phi = jnp.where(is_estimated, sums / jnp.maximum(sizes, 1) / jnp.log(sizes + 10), 0.0)
    largest = jnp.max(phi)
    phi = jnp.where(is_estimated, phi, jnp.where(largest > 0, largest, 1.0))
    phi = jnp.clip(phi, *jnp.percentile(phi, jnp.array([10.0, 90.0])))
    return temperature * phi / jnp.mean(phi)


def proto_nce(
    queries: jax.Array,
    labels: jax.Array,
    prototypes: jax.Array,
    phi: jax.Array,
    *,
    negatives: int,
    key: jax.Array,
) -> LossAndAccuracy:
    """Compute the second term of L for one clustering, and the fraction of queries closest to their own.

    Args:
      queries: `[N, D]` unit rows.
      labels: `[N]` clusters, -1 for none: these count as 0.
      prototypes: `[K, D]` unit rows; no gradient.
      phi: `[K]` concentrations; no gradient.
      negatives: r, in addition to the prototypes of the batch; all, if there are fewer.
      key: Random key of the sample.
    """
    clusters = len(prototypes)
    is_own = jnp.zeros(clusters, bool).at[jnp.where(labels >= 0, labels, clusters)].set(True, mode="drop")
    ranks = jnp.where(is_own, -1.0, jax.random.uniform(key, [clusters]))
    last = jnp.sort(ranks)[jnp.minimum(jnp.sum(is_own) + negatives, clusters) - 1]
    prototypes, phi = jax.lax.stop_gradient((prototypes, phi))
    logits = similarities(queries, prototypes) / phi[None]
    return clustering.cross_entropy(jnp.where((ranks <= last)[None], logits, -jnp.inf), labels)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective with queries of view a and keys of view b.

    Its memory is {"queue": `[Q, D]` unit rows, newest first; "bank": `[R, D]` keys, 0 before the first;
    "labels": `[R, M]` int32 clusters, -1 if there is none; and for the clustering m, "prototypes_m":
    `[K_m, D]` unit rows, "phi_m": `[K_m]`}.

    Raises:
      UserError: If the queue does not hold a whole number of batches, or if there are more clusters than
        images in an epoch.
    """
    settings = config.pcl
    check_queue_size("config.objective.pcl.queue_size", settings.queue_size, run_info.batch_size)
    clustering.check_clusters("config.objective.pcl.clusters", max(settings.clusters), run_info)
    warmup_steps = settings.warmup_epochs * run_info.steps_per_epoch

    def loss(outputs, memory, context):
        q, k = unit_rows(outputs["a"].embedding), unit_rows(context.targets["b"].embedding)
        operand_dtype = jnp.dtype(config.operand_dtype)
        instance = moco_loss(
            q, k, memory["queue"], temperature=settings.temperature, operand_dtype=operand_dtype
        )
        labels = memory["labels"][context.index]  # [B, M]
        terms = []
        for m in range(len(settings.clusters)):
            prototypes, phi = memory[f"prototypes_{m}"], memory[f"phi_{m}"]
            key = jax.random.fold_in(context.key, m)
            terms.append(proto_nce(q, labels[:, m], prototypes, phi, negatives=settings.negatives, key=key))
        prototype, accuracy = (sum(values) / len(terms) for values in zip(*terms, strict=True))
        value = instance.loss + jnp.where(context.step < warmup_steps, 0.0, prototype)
        metrics = {"loss": config.scale * value, "contrast_accuracy": instance.accuracy}
        metrics |= {"prototype_loss": prototype, "cluster_accuracy": accuracy}
        metrics |= embedding_statistics([outputs["a"].embedding], unit_length=True)
        bank = memory_bank.write(memory["bank"], context.index, k)
        return config.scale * value, memory | {"queue": push(memory["queue"], k), "bank": bank}, metrics

    def init_memory(key):
        rows, width = memory_bank.num_rows(run_info.num_images), run_info.width
        memory = {
            "queue": unit_rows(jax.random.normal(key, (settings.queue_size, width))),
            "bank": jnp.zeros([rows, width]),
            "labels": jnp.full([rows, len(settings.clusters)], -1, jnp.int32),
        }
        for m, clusters in enumerate(settings.clusters):
            memory[f"prototypes_{m}"] = jnp.zeros([clusters, width])
            memory[f"phi_{m}"] = jnp.full([clusters], settings.temperature)
        return memory

    momentum = jnp.float32(settings.target_momentum)
    return Objective(
        loss,
        views=("a",),
        target=Target(lambda step: momentum, ("b",)),
        init_memory=init_memory,
        refresh=partial(_refresh, settings=settings),
        refresh_every=run_info.steps_per_epoch,
    )


def _refresh(memory: dict[str, jax.Array], key: jax.Array, settings: Pcl) -> dict[str, jax.Array]:
    """Cluster the keys again, at each number of clusters."""
    bank, columns = memory["bank"], []
    for m, clusters in enumerate(settings.clusters):
        centroids, labels = clustering.kmeans(
            jax.random.fold_in(key, m), bank, clusters, settings.iterations, spherical=False
        )
        phi = concentrations(bank, centroids, labels, temperature=settings.temperature)
        memory = memory | {f"prototypes_{m}": unit_rows(centroids), f"phi_{m}": phi}
        columns.append(labels)
    return memory | {"labels": jnp.stack(columns, axis=1)}
