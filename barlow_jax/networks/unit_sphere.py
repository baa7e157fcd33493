"""L2 normalization of rows, and cosines between rows.

    u_b = z_b / max(|z_b|, eps),    cos(x_b, y_b) = u(x)_b . u(y)_b

eps is torch's 1e-12: shorter rows are not scaled up to length 1, and a row of zeros stays 0.
"""

import jax
import jax.numpy as jnp

_EPSILON = 1e-12


def unit_rows(z: jax.Array) -> jax.Array:
    """Return `[N, D]` rows of any float dtype scaled to length 1, in float32; a row of zeros stays 0.

    Values and gradients are correct for all finite rows of length 1e-12 or more, and finite for shorter
    ones. Rows with NaN or infinity become NaN.

    >>> import jax.numpy as jnp
    >>> print(unit_rows(jnp.array([[3e30, 4e30], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
    """
    z = z.astype(jnp.float32)
    # Squares overflow from 1e19 on. Neither a row's direction nor its gradient depends on the row's scale.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=1, keepdims=True))
    z = z / jnp.maximum(largest, _EPSILON)
    squares = jnp.sum(jnp.square(z), axis=1, keepdims=True)  # 1 or more, unless the row was shorter than eps
    return z / jnp.sqrt(jnp.where(squares >= 1, squares, 1.0))


def cosines(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the `[N]` float32 cosines between the rows of `[N, D]` x and y, which may have any length."""
    return jnp.sum(unit_rows(x) * unit_rows(y), axis=1)
