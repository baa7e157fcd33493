"""What the Barlow Twins paper puts in the place of a part of its loss (section 4, table 5).

sample   a_b <- sqrt(N) a_b / |a_b|     after centring and standardising over the batch: C is the
         unnormalised covariance (a sum over the batch) of embeddings on the unit sphere
none     a <- z - mean                  C is the cross-covariance
cross-entropy with temperature          of C, in the squares' place:
         -log sum_i exp(C_ii / t)  +  lambda * log sum_i sum_{j != i} exp(max(C_ij, 0) / t)
"""

from typing import Literal

import jax
import jax.numpy as jnp

Normalization = Literal["batch", "sample", "none"]


def to_sphere(a: jax.Array) -> jax.Array:
    """`[N, D]` standardised embeddings, each row of length sqrt(N): C's 1/N then makes a sum of unit rows."""
    norms = jnp.sqrt(jnp.sum(jnp.square(a), axis=1, keepdims=True) + 1e-12)
    return a * (a.shape[0] ** 0.5 / norms)


def centre(z: jax.Array) -> jax.Array:
    """`[N, D]` embeddings to mean 0 over the batch, float32."""
    z = z.astype(jnp.float32)
    return z - jnp.mean(z, axis=0)


def cross_entropies(
    a: jax.Array, b: jax.Array, diagonal: jax.Array, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """Both terms of the cross-entropy, unweighted; builds the D x D matrix.

    Args:
      a: `[N, D]` normalised embeddings of one view.
      b: of the other view.
      diagonal: `[D]` of C.
      temperature: above 0; the paper does not say which.
    """
    correlation = jnp.matmul(a.T, b, precision="highest") / a.shape[0]
    positive = jnp.where(jnp.eye(diagonal.size, dtype=bool), -jnp.inf, jnp.maximum(correlation, 0.0))
    return -jax.nn.logsumexp(diagonal / temperature), jax.nn.logsumexp(positive / temperature)
