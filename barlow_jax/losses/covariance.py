"""The variance and the covariance term of one view (Bardes, Ponce, LeCun 2022, equations 1 to 4).

    v(Z) = 1/D sum_i max(0, gamma - sqrt(Var(z_i) + eps))
    C(Z) = (Z - mean)^T (Z - mean) / (N - 1)
    c(Z) = 1/D sum_i sum_{j != i} C_ij^2

The variance is unbiased too, as in the official code. Both are over the global batch, in float32. The second sum takes
either form of `correlation.py`; what it says there of digits that "gram" keeps holds of correlations. Of covariances,
the diagonal's share of what it is subtracted from is at most

    (N - 1) / D  *  mean_i C_ii^2 / (mean_i C_ii)^2

which a few features far above the others bring near 1: then the energy, small beside their variances, is off by
float32's 1e-7 of the squares of these.
"""

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import Form, off_diagonal_energy, product, resolve_form
from barlow_jax.types import Reshard


def variance_hinge(z: jax.Array, *, target_deviation: float = 1.0, epsilon: float = 1e-4) -> jax.Array:
    """v(Z): how far features fall short of a standard deviation; a float32 scalar from 0 to `target_deviation`.

    Args:
      z: `[N, D]` embeddings, any float dtype, N >= 2.
      target_deviation: gamma.
      epsilon: added to the variance; a constant feature has a gradient of 0, exactly.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 0.0], [-1.0, 0.0]])  # deviations sqrt(2) and 0
    >>> print(f"{variance_hinge(z):.3f}")
    0.495
    """
    variance = jnp.sum(jnp.square(_centre(z)), axis=0) / (z.shape[0] - 1)
    return jnp.mean(jax.nn.relu(target_deviation - jnp.sqrt(variance + epsilon)))


def covariance_energy(
    z: jax.Array,
    *,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """c(Z): the squared covariances of different features, summed and divided by D; a float32 scalar.

    Args:
      z: `[N, D]` embeddings, any float dtype, N >= 2, of deviations below 1e9: fourth powers end there.
      form: "direct" builds the D x D matrix, "gram" an N x N one, "auto" takes the cheaper (`correlation.choose_form`).
      reshard: how the mesh lays embeddings out by features; None leaves them as they are.
      operand_dtype: of what the large matrix products read; they accumulate in float32. bfloat16 moves the energy by up
        to 1e-4 and its gradient by up to 5e-3, relative.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 2.0], [-1.0, -2.0]])  # one covariance of 4, twice in the matrix
    >>> print(f"{covariance_energy(z):.1f}")
    16.0
    """
    rows, width = z.shape
    form = resolve_form(form, rows, width, reshard)
    z = reshard.by_features(z) if reshard else z
    a = _centre(z) * (rows / (rows - 1)) ** 0.5  # the N of `correlation.py` becomes N - 1
    # The matrix is symmetric, and its two sides have the same gradient: one is taken, twice. That saves a product, and
    # on a mesh the collectives of a second Gram matrix, which the compiler would not know to be the first.
    b = jax.lax.stop_gradient(a)
    diagonal = jnp.mean(a * b, axis=0)
    if form == "gram":
        squares = jnp.square(product("ni,mi->nm", a, b, operand_dtype))
        energy = jnp.sum(jnp.sum(squares, axis=1)) / rows**2 - jnp.sum(jnp.square(diagonal))
    else:
        energy = off_diagonal_energy(a, b, diagonal, form=form, operand_dtype=operand_dtype)
    return (2 * energy - jax.lax.stop_gradient(energy)) / width


def _centre(z: jax.Array) -> jax.Array:
    """To mean 0 over the batch, float32; a constant feature to 0, exactly."""
    if z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"expected [N, D] embeddings of 2 rows or more, got {z.shape}")
    z = z.astype(jnp.float32)
    # The mean of N equal numbers is off by its rounding. Nothing depends on a shift, nor does the gradient.
    centred = z - jax.lax.stop_gradient(z[:1])
    return centred - jnp.mean(centred, axis=0)
