"""W-MSE (Ermolov et al. 2021): views of an image agree after whitening, which leaves nothing to collapse to.

Equation 6 and algorithm 1, with d views, as the official code has them:

    z_i = L_i^-1 (v_i - mu_i)                  each view over its own random sub-batch (`losses/whitening.py`)
    L   = 2 / (d (d - 1)) sum_{i < j} mean_b (2 - 2 cos(z_bi, z_bj))

The sub-batches of all views are those of one permutation of the batch, anew each iteration, over which the loss
is averaged. All of it is float32 at the highest matmul precision.

A covariance that is singular to float32 cannot be whitened. Then the loss is inf, deliberately and with a finite
gradient: the step refuses it, as it does everything that is not finite, `skipped_steps` counts it, and the metric
`smallest_pivot` is 0. What helps is a larger sub-batch, or shrinkage.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.losses.health import spread
from barlow_jax.losses.whitening import whiten
from barlow_jax.types import Grouping, LossContext, Metrics, Objective, Outputs, RunInfo


class Terms(NamedTuple):
    """All scalars."""

    cosine: jax.Array  # mean over rows, pairs and iterations
    smallest_pivot: jax.Array  # of all covariances; 0 where one is singular, near 1/2 where M is 2 D


def w_mse_terms(
    embeddings: Sequence[jax.Array],
    key: jax.Array,
    *,
    sub_batch: int,
    iterations: int = 1,
    shrinkage: float = 0.0,
) -> Terms:
    """What the loss is made of; arguments as of `w_mse_loss`."""
    shapes = [z.shape for z in embeddings]
    if len(shapes) < 2 or len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise ValueError(f"expected two [N, D] arrays or more of one shape, got {shapes}")
    rows = shapes[0][0]
    if sub_batch < 2 or rows % sub_batch:
        raise ValueError(f"{rows} rows do not divide into sub-batches of {sub_batch}, at least 2")
    orders = jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, iterations))
    drawn = jnp.stack(embeddings)[:, orders.reshape(-1, sub_batch)]  # [d, sub-batches, M, D]
    whitened, pivots = whiten(drawn, shrinkage)
    squares = jnp.sum(jnp.square(whitened), axis=-1, keepdims=True)
    units = whitened * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
    pairs = list(combinations(units, 2))
    cosines = [jnp.mean(jnp.sum(one * other, axis=-1)) for one, other in pairs]
    return Terms(sum(cosines) / len(pairs), jnp.min(pivots))


def w_mse_loss(
    embeddings: Sequence[jax.Array],
    key: jax.Array,
    *,
    sub_batch: int,
    iterations: int = 1,
    shrinkage: float = 0.0,
) -> jax.Array:
    """The W-MSE loss of the embeddings of two views or more; algorithm 1 of the paper.

    Works on its own, outside any mesh; under jit with rows sharded over devices it is the loss of the
    global batch.

    Args:
      embeddings: `[N, D]` of each view, any float dtype, row by row of the same images.
      key: of the permutations.
      sub_batch: M, rows that are whitened together; N is a multiple of it. Below 2 D covariances are badly
        conditioned, up to D singular.
      iterations: permutations that the loss is averaged over.
      shrinkage: s of `whiten`.

    Returns:
      A float32 scalar from 0, where all views are one, to 4; inf where a covariance is singular.

    Raises:
      ValueError: the shapes differ, or N is no multiple of M.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (16, 4))
    >>> loss = [w_mse_loss([z, other], jax.random.key(1), sub_batch=8) for other in (3 * z + 1, -z, 0 * z)]
    >>> print(" ".join(f"{value:.3f}" for value in loss))
    0.000 4.000 inf
    """
    terms = w_mse_terms(embeddings, key, sub_batch=sub_batch, iterations=iterations, shrinkage=shrinkage)
    return _loss(terms)


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over all views."""
    settings = config.w_mse
    _check(settings.sub_batch, settings.shrinkage, setup)

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        embeddings = [outputs[view].embedding for view in setup.views]
        terms = w_mse_terms(
            embeddings,
            context.key,
            sub_batch=settings.sub_batch,
            iterations=settings.iterations,
            shrinkage=settings.shrinkage,
        )
        value = config.scale * _loss(terms)
        return value, memory, {"loss": value, **terms._asdict(), **spread(embeddings)}

    return Objective(loss, grouping=Grouping(encoder="view", heads="together"))


def _loss(terms: Terms) -> jax.Array:
    return jnp.where(terms.smallest_pivot > 0, 2 - 2 * terms.cosine, jnp.inf)


def _check(sub_batch: int, shrinkage: float, setup: RunInfo) -> None:
    key, batch_size = "config.objective.w_mse.sub_batch", setup.batch_size
    if batch_size % sub_batch:
        raise UserError(
            f"{key}: the batch must be a multiple of it, got {sub_batch} and a batch of {batch_size}: change it, or "
            "config.train.batch_size"
        )
    if sub_batch < 2:
        raise UserError(f"{key}: must be 2 or more, a covariance needs two rows, got {sub_batch}")
    if shrinkage == 0 and sub_batch < 2 * setup.width:
        raise UserError(
            f"{key}: must be {2 * setup.width} or more, twice the embedding's width, or covariances are singular or "
            f"nearly so; got {sub_batch}. Make it larger, make the last width of config.network.projector smaller, or "
            "set config.objective.w_mse.shrinkage above 0"
        )
