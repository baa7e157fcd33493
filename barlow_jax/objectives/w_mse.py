"""W-MSE (Ermolov et al. 2021): views of an image agree after whitening, which rules out collapse.

Equation 6 and algorithm 1, with d views, as in the official code:

    z_i = L_i^-1 (v_i - mu_i)                  each view over its own random sub-batch (`losses/whitening.py`)
    L   = 2 / (d (d - 1)) sum_{i < j} mean_b (2 - 2 cos(z_bi, z_bj))

All views use the same permutation of the batch to form sub-batches. Each iteration draws a new permutation,
and the loss is the mean over iterations. Everything is computed in float32 at the highest matmul precision.

A covariance that is singular to float32 cannot be whitened. The loss is then inf, deliberately and with a
finite gradient. Such a step is skipped, like every step with a non-finite loss, and counted in
`skipped_steps`; the metric `smallest_pivot` is 0. The remedy is a larger sub-batch or shrinkage.
"""

from collections.abc import Sequence
import dataclasses
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.standardization import check_views
from barlow_jax.losses.whitening import whiten
from barlow_jax.types import Grouping, Objective, RunInfo


def w_mse_loss(
    embeddings: Sequence[jax.Array],
    key: jax.Array,
    *,
    sub_batch: int,
    iterations: int = 1,
    shrinkage: float = 0.0,
) -> jax.Array:
    """Compute the W-MSE loss of the embeddings of two or more views, algorithm 1 of the paper.

    Args:
      embeddings: `[N, D]` of each view, any float dtype, of the same images in the same order.
      key: Random key of the permutations.
      sub_batch: M, rows that are whitened together; N must be a multiple of it. Covariances are badly
        conditioned for M below 2 D, and singular for M up to D.
      iterations: Number of permutations that the loss is averaged over.
      shrinkage: s of `whiten`.

    Returns:
      A float32 scalar from 0, where all views agree, to 4; inf if a covariance is singular.

    Raises:
      ValueError: If the shapes differ, or N is not a multiple of M.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (16, 4))
    >>> loss = [w_mse_loss([z, y], jax.random.key(1), sub_batch=8) for y in (3 * z + 1, -z, 0 * z)]
    >>> print(" ".join(f"{value:.3f}" for value in loss))
    0.000 4.000 inf
    """
    terms = w_mse_terms(embeddings, key, sub_batch=sub_batch, iterations=iterations, shrinkage=shrinkage)
    return _loss(terms)


class WMseTerms(NamedTuple):
    """Metrics that determine the loss; float32 scalars."""

    cosine: jax.Array  # mean over rows, pairs and iterations
    smallest_pivot: jax.Array  # of all covariances; 0 if one is singular, near 1/2 if M is 2 D


def w_mse_terms(
    embeddings: Sequence[jax.Array], key: jax.Array, *, sub_batch: int, iterations: int, shrinkage: float
) -> WMseTerms:
    """Return the mean cosine after whitening and the smallest pivot; arguments as in `w_mse_loss`."""
    check_views(embeddings)
    rows = embeddings[0].shape[0]
    if sub_batch < 2 or rows % sub_batch:
        raise ValueError(f"sub_batch must be 2 or more and divide the {rows} rows, got {sub_batch}")
    orders = jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, iterations))
    sub_batches = jnp.stack(embeddings)[:, orders.reshape(-1, sub_batch)]  # [d, sub-batches, M, D]
    whitened, pivots = whiten(sub_batches, shrinkage)
    squares = jnp.sum(jnp.square(whitened), axis=-1, keepdims=True)
    units = whitened * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
    pairs = list(combinations(units, 2))
    cosines = [jnp.mean(jnp.sum(x * y, axis=-1)) for x, y in pairs]
    return WMseTerms(sum(cosines, jnp.zeros(())) / len(pairs), jnp.min(pivots))


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views.

    Raises:
      UserError: If the sub-batch does not fit the batch or the embedding's width.
    """
    settings, batch_size = config.w_mse, run_info.batch_size
    found = f"config.objective.w_mse.sub_batch is {settings.sub_batch}, but must"
    if batch_size % settings.sub_batch:
        raise UserError(f"{found} divide config.train.batch_size, {batch_size}.")
    if settings.sub_batch < 2:
        raise UserError(f"{found} be 2 or more: a covariance needs two rows.")
    if settings.shrinkage == 0 and settings.sub_batch < 2 * run_info.width:
        raise UserError(
            f"{found} be {2 * run_info.width} or more, twice the embedding width: smaller sub-batches have a "
            "(nearly) singular covariance. Increase it, decrease the last width of config.network.projector, "
            "or set config.objective.w_mse.shrinkage above 0."
        )

    def loss(outputs, memory, context):
        embeddings = [outputs[view].embedding for view in run_info.views]
        terms = w_mse_terms(embeddings, context.key, **dataclasses.asdict(settings))
        value = config.scale * _loss(terms)
        return value, memory, {"loss": value, **terms._asdict(), **embedding_statistics(embeddings)}

    return Objective(loss, grouping=Grouping(encoder="view", heads="together"))


def _loss(terms: WMseTerms) -> jax.Array:
    return jnp.where(terms.smallest_pivot > 0, 2 - 2 * terms.cosine, jnp.inf)
