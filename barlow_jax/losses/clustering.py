"""Clusters of a memory bank, and their cross-entropy: k-means, with balanced clusters if asked for.

The bank `[R, D]` has unit rows, R a multiple of 1024; rows of zeros have not been written yet and belong to
no cluster, -1. One k-means iteration for the rows z_i and K centroids c_k with offsets o_k is

    y_i = argmax_k (c_k . z_i - o_k),    c_k = mean of the z_i with y_i = k;    an empty cluster keeps its c_k

Centroids of spherical k-means are scaled to length 1, and its offsets are 0. Those of Euclidean k-means are
half the squared length of c_k. Balanced offsets make the clusters equally large (`balanced_offsets`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from barlow_jax.errors import UserError
from barlow_jax.losses.contrastive import LossAndAccuracy, similarities
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import RunInfo

_PARTS = 1024  # of a bank's rows, which the devices hold in whole numbers (memory_bank)
Offsets = Callable[[jax.Array, jax.Array], jax.Array]  # ([R, D] bank, [K, D] centroids) -> [1, K]


def _parts(bank: jax.Array) -> jax.Array:
    """Return the bank as `[S, 1024, D]` parts; all devices share each of them."""
    return bank.reshape(_PARTS, -1, bank.shape[1]).swapaxes(0, 1)


def assign(bank: jax.Array, centroids: jax.Array, offsets: jax.Array | float = 0.0) -> jax.Array:
    """Return the `[R]` int32 clusters of `[R, D]` rows, given `[K, D]` centroids and `[1, K]` offsets.

    Similarities are computed for 1024 rows at a time, which all devices share.
    """
    clusters = jax.lax.map(
        lambda rows: jnp.argmax(similarities(rows, centroids) - offsets, axis=1), _parts(bank)
    )
    return clusters.swapaxes(0, 1).reshape(-1).astype(jnp.int32)


def kmeans(
    key: jax.Array,
    bank: jax.Array,
    clusters: int,
    iterations: int = 10,
    *,
    spherical: bool = True,
    offsets: Offsets | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return `[K, D]` centroids and the `[R]` int32 clusters of a bank.

    Args:
      key: Random key of the first centroids, which are rows of the bank.
      bank: `[R, D]` rows; K or more of them are written.
      clusters: K.
      iterations: Number of times that centroids are computed.
      spherical: Scales centroids to length 1; False: Euclidean k-means.
      offsets: Function of the bank and the centroids; None = those of the kind of k-means.
    """
    is_written = jnp.any(bank != 0, axis=1)
    weights = is_written / jnp.sum(is_written)
    start = jax.random.choice(key, len(bank), [clusters], replace=False, p=weights)

    def nearest(centroids):
        if offsets:
            return assign(bank, centroids, offsets(bank, centroids))
        half_squares = jnp.sum(jnp.square(centroids), axis=1)[None] / 2
        return assign(bank, centroids, 0.0 if spherical else half_squares)

    def iterate(_, centroids):
        labels = jnp.where(is_written, nearest(centroids), clusters)  # dropped
        sums = jax.ops.segment_sum(bank, labels, clusters)
        sizes = jax.ops.segment_sum(jnp.ones(len(bank)), labels, clusters)
        means = unit_rows(sums) if spherical else sums / jnp.maximum(sizes, 1)[:, None]
        return jnp.where(jnp.any(sums != 0, axis=1, keepdims=True), means, centroids)

    centroids = jax.lax.fori_loop(0, iterations, iterate, bank[start])
    return centroids, jnp.where(is_written, nearest(centroids), -1)


def balanced_offsets(
    bank: jax.Array, centroids: jax.Array, *, epsilon: float, iterations: int = 10
) -> jax.Array:
    """Return the `[1, K]` offsets of Sinkhorn-Knopp over all written rows (`losses/sinkhorn.py`).

    The largest element of a row's code is that of the cluster k with the largest c_k . z - o_k. The codes of
    all rows, `[R, K]`, are not stored: an iteration reads 1024 rows at a time.

    Args:
      bank: `[R, D]` rows.
      centroids: `[K, D]`.
      epsilon: Entropy weight, above 0.
      iterations: Number of normalizations, each of the rows and then of the clusters.
    """

    def normalize(_, prototype_log):
        def add(total, rows):
            logits = similarities(rows, centroids) / epsilon
            row_log = jax.nn.logsumexp(logits - prototype_log, axis=1, keepdims=True)
            is_written = jnp.any(rows != 0, axis=1, keepdims=True)
            return jnp.logaddexp(total, jnp.where(is_written, logits - row_log, -jnp.inf)), None

        total = jnp.full([_PARTS, len(centroids)], -jnp.inf)
        return jax.nn.logsumexp(jax.lax.scan(add, total, _parts(bank))[0], axis=0, keepdims=True)

    return epsilon * jax.lax.fori_loop(0, iterations, normalize, jnp.zeros([1, len(centroids)]))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> LossAndAccuracy:
    """Return the mean cross-entropy and accuracy of `[N, K]` logits; rows with label -1 count as 0.

    A logit of -inf excludes a cluster.

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[0.0, 0.0, -jnp.inf], [1.0, 0.0, 0.0]])
    >>> print(f"{cross_entropy(logits, jnp.array([1, -1])).loss:.4f}")  # log(2) / 2
    0.3466
    """
    own = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[:, None], axis=1)[:, 0]
    losses = jnp.where(labels >= 0, jax.nn.logsumexp(logits, axis=1) - own, 0.0)
    return LossAndAccuracy(jnp.mean(losses), jnp.mean(jnp.argmax(logits, axis=1) == labels))


def check_clusters(key: str, clusters: int, run_info: RunInfo) -> None:
    """Raise a UserError that names the config key if an epoch has fewer images than clusters."""
    images = run_info.batch_size * run_info.steps_per_epoch  # whole batches
    if run_info.num_images and clusters > images:
        raise UserError(f"{key} is {clusters}, but an epoch has {images} images. Use fewer clusters.")
