"""MoCo v2 (He et al. 2020, Chen et al. 2020): an image's key is told from a long queue of older keys.

Equation 1 of He et al., InfoNCE, for the network's query q of view a and the target network's key k of view b, all on
the unit sphere, and the queue's K keys:

    L = -1/N sum_b log( exp(q_b . k_b / t) / (exp(q_b . k_b / t) + sum_m exp(q_b . queue_m / t)) )

The queue holds the keys of the K / N batches before this one, and random directions at the start. One direction,
as in the official code: view b gives no query. The target's momentum is constant.

The official BatchNorms see the 32 images of one GPU, and keys are shuffled over GPUs, so that a key has no statistics
in common with its query. Here they see the global batch, and a shuffle would change nothing. What a query may learn
from sharing them with its key alone, all other keys being of other batches, falls with the size of the batch.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import health
from barlow_jax.losses.contrast import Contrast, info_nce, similarities
from barlow_jax.losses.queue import check_size, push
from barlow_jax.losses.sphere import unit_rows
from barlow_jax.types import LossContext, Metrics, Objective, Outputs, RunInfo, Target


def queue_loss(
    queries: jax.Array,
    keys: jax.Array,
    queue: jax.Array,
    *,
    temperature: float,
    operand_dtype: jnp.dtype = jnp.float32,
) -> Contrast:
    """Equation 1, and the share of queries whose key is above the whole queue.

    Args:
      queries: `[N, D]` embeddings, any float dtype and length.
      keys: `[N, D]` embeddings of the same images, any length; no gradient.
      queue: `[K, D]` unit rows; no gradient.
      temperature: t, above 0.
      operand_dtype: of what the product with the queue reads; it accumulates in float32.

    Raises:
      ValueError: the shapes do not go together.

    >>> import jax.numpy as jnp
    >>> z, queue = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0], [0.0, -1.0]])
    >>> print(f"{queue_loss(z, z, queue, temperature=1.0).loss:.4f}")  # log(1 + 2 / e)
    0.5514
    """
    if queries.ndim != 2 or queries.shape != keys.shape or queries.shape[1:] != queue.shape[1:]:
        raise ValueError(f"expected [N, D], [N, D], [K, D]; got {queries.shape}, {keys.shape}, {queue.shape}")
    q, (k, queue) = unit_rows(queries), jax.lax.stop_gradient((unit_rows(keys), queue))
    positive = jnp.sum(q * k, axis=1) / temperature
    return info_nce(positive, similarities(q, queue, operand_dtype) / temperature)


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective: queries of view a, keys of view b. Its memory is {"queue": `[K, D]` unit rows, newest first}.

    Raises:
      UserError: the queue does not hold whole batches.
    """
    settings = config.moco
    check_size("config.objective.moco.queue_size", settings.queue_size, setup.batch_size)

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        queries, keys = outputs["a"].embedding, unit_rows(context.targets["b"].embedding)
        operand_dtype = jnp.dtype(config.operand_dtype)
        contrast = queue_loss(
            queries, keys, memory["queue"], temperature=settings.temperature, operand_dtype=operand_dtype
        )
        value = config.scale * contrast.loss
        metrics = {"loss": value, "contrast_accuracy": contrast.accuracy}
        metrics |= health.spread([queries], directions=True)
        return value, {"queue": push(memory["queue"], keys)}, metrics

    def init_memory(key: jax.Array) -> dict[str, jax.Array]:
        return {"queue": unit_rows(jax.random.normal(key, (settings.queue_size, setup.width)))}

    momentum = jnp.float32(settings.target_momentum)
    return Objective(
        loss, views=("a",), target=Target(lambda step: momentum, ("b",)), init_memory=init_memory
    )
