"""Ablations of the Barlow Twins loss (section 4, table 5 of the paper).

normalization="sample"      a_b <- sqrt(N) a_b / |a_b| after standardizing over the batch: C is the
                            unnormalized covariance (a sum over the batch) of embeddings on the unit sphere
normalization="none"        a <- z - mean: C is the cross-covariance
off_diagonal="auto"         the redundancy term reads the auto-correlation A^T A / N
temperature=t               a cross-entropy instead of the squares:
                            -log sum_i exp(C_ii / t)  +  lambda * log sum_i sum_{j != i} exp(max(C_ij, 0) / t)
"""

from typing import Literal

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import CorrelationTerms, Form, off_diagonal_energy
from barlow_jax.losses.standardization import standardize


def ablated_terms(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    normalization: Literal["batch", "sample", "none"] = "batch",
    off_diagonal: Literal["cross", "auto"] = "cross",
    temperature: float | None = None,
    form: Form = "direct",
    operand_dtype: jnp.dtype = jnp.float32,
) -> CorrelationTerms:
    """Return the unweighted terms of the ablated loss; the defaults are equation 1.

    Args:
      z_a: `[N, D]` embeddings of one view.
      z_b: `[N, D]` embeddings of the other view.
      normalization: "batch" standardizes features; "sample" also scales rows to equal length; "none" centers.
      off_diagonal: "cross" correlates the views, "auto" view a with itself.
      temperature: t of the cross-entropy, above 0 (the paper does not give its value); None keeps the
      squares.
      form: "direct" or "gram", of the redundancy term.
      operand_dtype: Operand dtype of the large matrix products; the cross-entropy ignores it.
    """
    if normalization == "none":
        z_a, z_b = z_a.astype(jnp.float32), z_b.astype(jnp.float32)
        a, b = (z - jnp.mean(z, axis=0, keepdims=True) for z in (z_a, z_b))
    else:
        a, b = standardize(z_a), standardize(z_b)
    if normalization == "sample":
        a, b = _to_sphere(a), _to_sphere(b)
    diagonal = jnp.mean(a * b, axis=0)
    if temperature is not None:
        invariance, redundancy = _cross_entropies(a, b, diagonal, temperature)
    else:
        invariance = jnp.sum(jnp.square(1.0 - diagonal))
        pair = (a, b, diagonal) if off_diagonal == "cross" else (a, a, jnp.mean(a * a, axis=0))
        redundancy = off_diagonal_energy(*pair, form=form, operand_dtype=operand_dtype)
    return CorrelationTerms(invariance, redundancy, jnp.mean(diagonal))


def _to_sphere(a: jax.Array) -> jax.Array:
    """Scale the rows of `[N, D]` standardized embeddings to length sqrt(N); C's 1/N then sums unit rows."""
    norms = jnp.sqrt(jnp.sum(jnp.square(a), axis=1, keepdims=True) + 1e-12)
    return a * (a.shape[0] ** 0.5 / norms)


def _cross_entropies(
    a: jax.Array, b: jax.Array, diagonal: jax.Array, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """Return both terms of the cross-entropy, unweighted; builds the D x D matrix."""
    correlation = jnp.matmul(a.T, b, precision="highest") / a.shape[0]
    positive = jnp.where(jnp.eye(diagonal.size, dtype=bool), -jnp.inf, jnp.maximum(correlation, 0.0))
    return -jax.nn.logsumexp(diagonal / temperature), jax.nn.logsumexp(positive / temperature)
