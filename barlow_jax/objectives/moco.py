"""MoCo v2 (He et al. 2020, Chen et al. 2020): identify an image's key among a long queue of older keys.

Equation 1 of He et al., InfoNCE, for the network's query q of view a, the target network's key k of view b
and the queue's K keys, all on the unit sphere:

    L = -1/N sum_b log( exp(q_b . k_b / t) / (exp(q_b . k_b / t) + sum_m exp(q_b . queue_m / t)) )

The queue holds the keys of the previous K / N batches, and random directions at the start. As in the official
code the loss has one direction: view b gives no query. The target's momentum is constant.

In the official code each BatchNorm sees the 32 images of one GPU, and keys are shuffled over GPUs so that a
key shares no statistics with its query. Here BatchNorm sees the global batch, where a shuffle would change
nothing. A query does share statistics with its own key alone, since all other keys are from other batches;
the information that leaks this way decreases with the batch size.
"""

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.contrastive import LossAndAccuracy, info_nce, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.queue import check_queue_size, push
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Objective, RunInfo, Target


def moco_loss(
    queries: jax.Array,
    keys: jax.Array,
    queue: jax.Array,
    *,
    temperature: float,
    operand_dtype: jnp.dtype = jnp.float32,
) -> LossAndAccuracy:
    """Compute equation 1, and the fraction of queries that are closer to their key than to the whole queue.

    Args:
      queries: `[N, D]` embeddings, any float dtype and length.
      keys: `[N, D]` embeddings of the same images, any length; no gradient.
      queue: `[K, D]` unit rows; no gradient.
      temperature: t, above 0.
      operand_dtype: Operand dtype of the product with the queue, which accumulates in float32.

    Raises:
      ValueError: If the shapes do not match.

    >>> import jax.numpy as jnp
    >>> z, queue = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0], [0.0, -1.0]])
    >>> print(f"{moco_loss(z, z, queue, temperature=1.0).loss:.4f}")  # log(1 + 2 / e)
    0.5514
    """
    if queries.ndim != 2 or queries.shape != keys.shape or queries.shape[1:] != queue.shape[1:]:
        raise ValueError(
            f"queries, keys and queue must be [N, D], [N, D] and [K, D], got {queries.shape}, {keys.shape} "
            f"and {queue.shape}"
        )
    q, (k, queue) = unit_rows(queries), jax.lax.stop_gradient((unit_rows(keys), queue))
    positive = jnp.sum(q * k, axis=1) / temperature
    return info_nce(positive, similarities(q, queue, operand_dtype) / temperature)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective with queries of view a and keys of view b.

    Its memory is {"queue": `[K, D]` unit rows, newest first}.

    Raises:
      UserError: If the queue does not hold a whole number of batches.
    """
    settings = config.moco
    check_queue_size("config.objective.moco.queue_size", settings.queue_size, run_info.batch_size)

    def loss(outputs, memory, context):
        queries, keys = outputs["a"].embedding, unit_rows(context.targets["b"].embedding)
        operand_dtype = jnp.dtype(config.operand_dtype)
        result = moco_loss(
            queries, keys, memory["queue"], temperature=settings.temperature, operand_dtype=operand_dtype
        )
        value = config.scale * result.loss
        metrics = {"loss": value, "contrast_accuracy": result.accuracy}
        metrics |= embedding_statistics([queries], unit_length=True)
        return value, {"queue": push(memory["queue"], keys)}, metrics

    def init_memory(key: jax.Array) -> dict[str, jax.Array]:
        return {"queue": unit_rows(jax.random.normal(key, (settings.queue_size, run_info.width)))}

    momentum = jnp.float32(settings.target_momentum)
    return Objective(
        loss, views=("a",), target=Target(lambda step: momentum, ("b",)), init_memory=init_memory
    )
