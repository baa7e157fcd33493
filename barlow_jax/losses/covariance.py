"""Variance and covariance terms of one view (VICReg: Bardes, Ponce, LeCun 2022, equations 1 to 4).

    v(Z) = 1/D sum_i max(0, gamma - sqrt(Var(z_i) + eps))
    C(Z) = (Z - mean)^T (Z - mean) / (N - 1)
    c(Z) = 1/D sum_i sum_{j != i} C_ij^2

The variance is unbiased too, as in the official code. Both terms are over the global batch, in float32. c(Z)
uses either form of `correlation.py`, whose bound on the digits lost by "gram" holds for correlations. For
covariances, the subtracted diagonal is at most the fraction

    (N - 1) / D  *  mean_i C_ii^2 / (mean_i C_ii)^2

of |C|^2. A few features with a far larger variance bring it near 1. The error of the energy is then 1e-7
(float32) of the squares of their variances, which are large relative to the energy.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.config.methods import Byol, Simsiam
from barlow_jax.config.schema import Objective
from barlow_jax.losses.correlation import Form, off_diagonal_energy, product, resolve_form
from barlow_jax.losses.standardization import center
from barlow_jax.types import Metrics, Reshard


def variance_hinge(z: jax.Array, *, target_std: float = 1.0, epsilon: float = 1e-4) -> jax.Array:
    """Return v(Z), the mean shortfall of the features' std below a target.

    It is a float32 scalar from 0 to `target_std`.

    Args:
      z: `[N, D]` embeddings, any float dtype, N >= 2.
      target_std: gamma.
      epsilon: Added to the variance, so that a constant feature has a gradient of exactly 0.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 0.0], [-1.0, 0.0]])  # std sqrt(2) and 0
    >>> print(f"{variance_hinge(z):.3f}")
    0.495
    """
    variance = jnp.sum(jnp.square(_centered(z)), axis=0) / (z.shape[0] - 1)
    return jnp.mean(jax.nn.relu(target_std - jnp.sqrt(variance + epsilon)))


def covariance_energy(
    z: jax.Array,
    *,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """Return c(Z), the sum of squared covariances of different features over D, a float32 scalar.

    Args:
      z: `[N, D]` embeddings, any float dtype, N >= 2, of std below 1e9, where fourth powers overflow.
      form: "direct" builds the D x D matrix, "gram" an N x N matrix, "auto" selects the cheaper one
        (`correlation.choose_form`).
      reshard: How the mesh lays embeddings out by features; None keeps their layout.
      operand_dtype: Operand dtype of the large matrix products, which accumulate in float32. bfloat16 changes
        the energy by up to 1e-4 and its gradient by up to 5e-3, relative.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 2.0], [-1.0, -2.0]])  # a single covariance, 4, twice in the matrix
    >>> print(f"{covariance_energy(z):.1f}")
    16.0
    """
    rows, width = z.shape
    form = resolve_form(form, rows, width, reshard)
    z = reshard.by_features(z) if reshard else z
    a = _centered(z) * (rows / (rows - 1)) ** 0.5  # the N of `correlation.py` becomes N - 1
    # Both factors of the symmetric matrix have the same gradient, so one is computed and doubled. This saves
    # a product and, on a mesh, the collectives of a second Gram matrix, which the compiler would not merge.
    b = jax.lax.stop_gradient(a)
    diagonal = jnp.mean(a * b, axis=0)
    if form == "gram":
        squares = jnp.square(product("ni,mi->nm", a, b, operand_dtype))
        energy = jnp.sum(jnp.sum(squares, axis=1)) / rows**2 - jnp.sum(jnp.square(diagonal))
    else:
        energy = off_diagonal_energy(a, b, diagonal, form=form, operand_dtype=operand_dtype)
    return (2 * energy - jax.lax.stop_gradient(energy)) / width


def vicreg_regularization(
    embeddings: Sequence[jax.Array], weights: Byol | Simsiam, config: Objective, reshard: Reshard | None
) -> tuple[jax.Array | float, Metrics]:
    """Return both terms for methods that have neither (table 4), and the mean over views of each.

        mu (v(Z_a) + v(Z_b)) + nu (c(Z_a) + c(Z_b))

    of the `[N, D]` embeddings of each view. A term whose weight is 0 is not computed.
    """
    value: jax.Array | float = 0.0
    metrics: Metrics = {}
    if weights.variance_weight:
        by_features = [reshard.by_features(z) if reshard else z for z in embeddings]
        variances = jnp.stack([variance_hinge(z) for z in by_features])
        value += weights.variance_weight * jnp.sum(variances)
        metrics["variance"] = jnp.mean(variances)
    if weights.covariance_weight:
        products: dict[str, Any] = {"form": config.form, "operand_dtype": jnp.dtype(config.operand_dtype)}
        covariances = jnp.stack([covariance_energy(z, reshard=reshard, **products) for z in embeddings])
        value += weights.covariance_weight * jnp.sum(covariances)
        metrics["covariance"] = jnp.mean(covariances)
    return value, metrics


def _centered(z: jax.Array) -> jax.Array:
    if z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"embeddings must be [N, D] with N >= 2, got {z.shape}")
    return center(z.astype(jnp.float32))
