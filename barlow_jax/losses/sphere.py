"""Embeddings on the unit sphere, and the cosines between them.

u_b = z_b / max(|z_b|, eps),    cos(x_b, y_b) = u(x)_b . u(y)_b

eps is torch's 1e-12: what is shorter is not on the sphere, and 0 stays 0.
"""

import jax
import jax.numpy as jnp

_SHORTEST = 1e-12


def unit_rows(z: jax.Array) -> jax.Array:
    """`[N, D]` of any float dtype to rows of length 1, float32; a row of zeros stays one.

    Values and gradients are right for all finite rows from 1e-12 in length, and finite for shorter ones; NaN and
    infinity become NaN.

    >>> import jax.numpy as jnp
    >>> print(unit_rows(jnp.array([[3e30, 4e30], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
    """
    z = z.astype(jnp.float32)
    # Squares end at 1e19. A row's direction does not depend on its scale, nor does the gradient.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=1, keepdims=True))
    z = z / jnp.maximum(largest, _SHORTEST)
    squares = jnp.sum(jnp.square(z), axis=1, keepdims=True)  # 1 or more, unless the row was below eps
    return z / jnp.sqrt(jnp.where(squares >= 1, squares, 1.0))


def cosines(x: jax.Array, y: jax.Array) -> jax.Array:
    """`[N, D]` and `[N, D]`, of any length, to the `[N]` cosines of row with row, float32."""
    return jnp.sum(unit_rows(x) * unit_rows(y), axis=1)
