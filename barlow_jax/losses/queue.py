"""Queue of the embeddings of the last batches, kept in the training state: `[K, D]`, newest first.

Each step shifts the queue by one batch instead of moving a pointer, so its contents depend only on the order
of the batches.
"""

import jax
import jax.numpy as jnp

from barlow_jax.errors import UserError


def push(queue: jax.Array, rows: jax.Array) -> jax.Array:
    """Return the `[K, D]` queue with `[B, D]` rows added in front and its last B rows dropped; no gradient.

    >>> import jax.numpy as jnp
    >>> print(push(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[0.0]]))[:, 0])
    [0. 1. 2.]
    """
    rows = jax.lax.stop_gradient(rows).astype(queue.dtype)
    # With a roll, rows that are split over devices move to the neighboring devices. The compiler turns a
    # concatenation into an all-to-all of the whole queue.
    return jax.lax.dynamic_update_slice(jnp.roll(queue, len(rows), axis=0), rows, (0, 0))


def check_queue_size(key: str, size: int, batch_size: int) -> None:
    """Raise a UserError that names the config key if the queue does not hold a whole number of batches."""
    if size < batch_size or size % max(1, batch_size):
        nearest = max(1, round(size / max(1, batch_size))) * batch_size
        raise UserError(
            f"{key} is {size}, but must be a multiple of config.train.batch_size ({batch_size}). "
            f"The nearest is {nearest}."
        )
