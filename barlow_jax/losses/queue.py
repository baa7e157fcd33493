"""Embeddings of the last batches, which a method keeps in the state: `[K, D]`, the newest first.

A shift by one batch a step instead of a pointer: what lies where follows from nothing but the order of the batches.
"""

import jax
import jax.numpy as jnp

from barlow_jax.errors import UserError


def push(queue: jax.Array, rows: jax.Array) -> jax.Array:
    """The queue `[K, D]` with rows `[B, D]` at its front; its last B are gone. No gradient.

    >>> import jax.numpy as jnp
    >>> print(push(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[0.0]]))[:, 0])
    [0. 1. 2.]
    """
    rows = jax.lax.stop_gradient(rows).astype(queue.dtype)
    # A roll, because rows that are split over devices then move to their neighbours; of a concatenation the
    # compiler makes an all-to-all of the whole queue.
    return jax.lax.dynamic_update_slice(jnp.roll(queue, len(rows), axis=0), rows, (0, 0))


def check_size(key: str, size: int, batch_size: int) -> None:
    """Raises UserError, with the config's key, where a queue does not hold whole batches."""
    if size < batch_size or size % max(1, batch_size):
        nearest = max(1, round(size / max(1, batch_size))) * batch_size
        raise UserError(
            f"{key}: must be a multiple of config.train.batch_size {batch_size}, got {size}; {nearest} is the nearest"
        )
