"""Memory bank: one row per training image, kept in the training state and split by rows over the devices.

A bank has a multiple of 1024 rows, whatever the devices: a run may resume on another number of them, and each
holds equally many rows where their number divides 1024. The rows after the last image are never read.
"""

import jax
import jax.numpy as jnp

_MULTIPLE = 1024


def num_rows(num_images: int) -> int:
    """Return the number of rows of a bank for this many images."""
    return -(-num_images // _MULTIPLE) * _MULTIPLE


def init_bank(key: jax.Array, num_images: int, width: int) -> jax.Array:
    """Return `[R, D]` rows with elements of U(-sqrt(3 / D), sqrt(3 / D)), of mean squared length 1."""
    largest = (3 / width) ** 0.5
    return jax.random.uniform(key, (num_rows(num_images), width), minval=-largest, maxval=largest)


def write(bank: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    """Return the `[R, ...]` bank with `[B, ...]` rows at the `[B]` indices; no gradient.

    Of several rows with one index the first is written: a scatter leaves their order to the device.

    >>> import jax.numpy as jnp
    >>> print(write(jnp.zeros([3, 1]), jnp.array([2, 0, 2]), jnp.array([[1.0], [2.0], [3.0]]))[:, 0])
    [2. 0. 1.]
    """
    rows = jax.lax.stop_gradient(rows).astype(bank.dtype)
    positions = jnp.arange(len(index))
    is_earlier = positions[None] < positions[:, None]
    is_repeat = jnp.any((index[:, None] == index[None]) & is_earlier, axis=1)
    return bank.at[jnp.where(is_repeat, len(bank), index)].set(rows, mode="drop")
