"""Barlow Twins (Zbontar et al. 2021): the cross-correlation of two views' embeddings is the identity.

Equation 1 with the normalisation of the official code (BatchNorm without scale and shift, eps 1e-5):

    A = (z_a - mean) / sqrt(var + eps)      B likewise, each view over its own batch
    C = A^T B / N
    L = sum_i (1 - C_ii)^2  +  lambda * sum_i sum_{j != i} C_ij^2

A plain sum, not divided by D. All of it is float32 at the highest matmul precision, unless the operands
of the large products are asked for in bfloat16. `correlation.py` has the two ways to the second sum,
`variants.py` what the paper's table 5 and 6 put in the place of a part of it.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import variants
from barlow_jax.losses.correlation import Form, off_diagonal_energy, resolve_form
from barlow_jax.types import LossContext, Metrics, Objective, Outputs, Reshard, RunInfo

# Squares in float32 end at 1e19, and the gradient of 1 / sqrt(variance), a third power, at 1e12. A power of
# two moves both up and changes no digit.
_SCALE = 2.0**-24


class Terms(NamedTuple):
    """What the loss is made of, and what tells whether it is healthy. All scalars."""

    invariance: jax.Array  # sum_i (1 - C_ii)^2
    redundancy: jax.Array  # sum_i sum_{j != i} C_ij^2
    diagonal_mean: jax.Array  # of C; 1 when both views agree
    embedding_std_min: jax.Array  # smallest standard deviation of a feature, before standardising
    embedding_std_mean: jax.Array
    # The same over the embeddings' root mean square: 1 where they lie around the origin, 0 where all are one
    # vector. Figure 2 of SimSiam (Chen and He 2021) but for the factor sqrt(D), and one length for all rows.
    embedding_spread: jax.Array


def standardize(z: jax.Array, epsilon: float = 1e-5) -> tuple[jax.Array, jax.Array]:
    """`[N, D]` to mean 0 and (biased) variance 1 over the batch, float32; and the deviations `[D]`.

    A constant feature becomes 0, exactly. Finite input gives finite values and gradients, which are right up
    to |z| = 1e19; where squares overflow in the end, the deviation is inf, and the feature becomes 0 too.
    """
    scaled = z.astype(jnp.float32) * _SCALE
    # The mean of N equal numbers is off by its rounding. Nothing depends on a shift, nor does the gradient.
    first = jax.lax.stop_gradient(z[:1].astype(jnp.float32) * _SCALE)
    centred = scaled - first
    centred -= jnp.mean(centred, axis=0)
    variance = jnp.mean(jnp.square(centred), axis=0)
    return centred * jax.lax.rsqrt(variance + epsilon * _SCALE**2), jnp.sqrt(variance) / _SCALE


def cross_correlation(z_a: jax.Array, z_b: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """C, `[D, D]`, of two batches of embeddings `[N, D]`."""
    _check_shapes(z_a, z_b)
    (a, _), (b, _) = standardize(z_a, epsilon), standardize(z_b, epsilon)
    return jnp.matmul(a.T, b, precision="highest") / z_a.shape[0]


def barlow_twins_terms(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    epsilon: float = 1e-5,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
    normalization: variants.Normalization = "batch",
    off_diagonal: Literal["cross", "auto"] = "cross",
    temperature: float | None = None,
) -> Terms:
    """Both terms of equation 1, unweighted; arguments as of `barlow_twins_loss`, and those of `variants.py`."""
    _check_shapes(z_a, z_b)
    rows, width = z_a.shape
    form = resolve_form(form, rows, width, reshard)
    if reshard:
        z_a, z_b = reshard.by_features(z_a), reshard.by_features(z_b)
    (a, deviation_a), (b, deviation_b) = standardize(z_a, epsilon), standardize(z_b, epsilon)
    deviations = jax.lax.stop_gradient(jnp.stack([deviation_a, deviation_b]))
    spread = jnp.mean(deviations) * _SCALE / jnp.maximum(_root_mean_square(z_a, z_b), 1e-30)
    if normalization == "sample":
        a, b = variants.to_sphere(a), variants.to_sphere(b)
    elif normalization == "none":
        a, b = variants.centre(z_a), variants.centre(z_b)
    diagonal = jnp.mean(a * b, axis=0)
    if temperature is not None:
        invariance, redundancy = variants.cross_entropies(a, b, diagonal, temperature)
    else:
        invariance = jnp.sum(jnp.square(1.0 - diagonal))
        pair = (a, b, diagonal) if off_diagonal == "cross" else (a, a, jnp.mean(a * a, axis=0))
        redundancy = off_diagonal_energy(*pair, form=form, operand_dtype=operand_dtype)
    return Terms(
        invariance=invariance,
        redundancy=redundancy,
        diagonal_mean=jnp.mean(diagonal),
        embedding_std_min=jnp.min(deviations),
        embedding_std_mean=jnp.mean(deviations),
        embedding_spread=jax.lax.stop_gradient(spread),
    )


def barlow_twins_loss(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    off_diagonal_weight: float,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """The Barlow Twins loss of two views' embeddings; equation 1 of the paper.

    Works on its own, outside any mesh; under jit with rows sharded over devices it is the loss of the
    global batch.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype, N >= 2.
      z_b: `[N, D]` embeddings of the other view, row by row of the same images.
      off_diagonal_weight: lambda; 0.0051 in the official code.
      form: "direct" builds the D x D matrix, "gram" two N x N ones, "auto" takes what costs less
        (`correlation.choose_form`). Both are exact; where N is above D and C near the identity, gram loses
        digits of the small second sum.
      reshard: how the mesh lays embeddings out by features (`Layout.reshard`); None leaves them as they are.
      operand_dtype: of what the large matrix products read; they always accumulate in float32. bfloat16
        takes a sixth of the passes on a TPU, and moves the loss by up to 1e-5 and its gradient by up to
        1e-3, relative (the first sum stays in float32).

    Returns:
      A float32 scalar, 0 where C is the identity.

    Raises:
      ValueError: the shapes differ, are not `[N, D]`, or N is 1 (batch statistics need two).

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(f"{barlow_twins_loss(z, z, off_diagonal_weight=0.0051):.4f}")
    0.0000
    """
    terms = barlow_twins_terms(z_a, z_b, form=form, reshard=reshard, operand_dtype=operand_dtype)
    return terms.invariance + off_diagonal_weight * terms.redundancy


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over views a and b, with metrics that can be compared between widths.

    Where there is a predictor it is on view a, and a stop-gradient is on view b (table 6).
    """

    settings = config.barlow_twins

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        del context
        z_a, z_b = outputs["a"].embedding, outputs["b"].embedding
        z_a = z_a if outputs["a"].prediction is None else outputs["a"].prediction
        z_b = jax.lax.stop_gradient(z_b) if settings.stop_gradient else z_b
        terms = barlow_twins_terms(
            z_a,
            z_b,
            form=config.form,
            reshard=setup.reshard,
            operand_dtype=jnp.dtype(config.operand_dtype),
            normalization=settings.normalization,
            off_diagonal=settings.off_diagonal,
            temperature=settings.temperature,
        )
        value = config.scale * (
            settings.invariance_weight * terms.invariance + settings.off_diagonal_weight * terms.redundancy
        )
        width = 1 if settings.temperature else z_a.shape[1]  # a cross-entropy does not grow with D
        pairs = max(1.0, width * (width - 1.0))
        return (
            value,
            memory,
            {
                "loss": value,
                "invariance": terms.invariance / width,
                "redundancy": terms.redundancy / width,
                "diagonal_mean": terms.diagonal_mean,
                "off_diagonal_rms": jnp.sqrt(terms.redundancy / pairs),
                "embedding_std_min": terms.embedding_std_min,
                "embedding_std_mean": terms.embedding_std_mean,
                "embedding_spread": terms.embedding_spread,
            },
        )

    return Objective(loss)


def _root_mean_square(z_a: jax.Array, z_b: jax.Array) -> jax.Array:
    """Of both views' embeddings, times _SCALE."""
    squares = (jnp.mean(jnp.square(z.astype(jnp.float32) * _SCALE)) for z in (z_a, z_b))
    return jnp.sqrt(sum(squares) / 2)


def _check_shapes(z_a: jax.Array, z_b: jax.Array) -> None:
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"expected two [N, D] arrays of one shape, got {z_a.shape} and {z_b.shape}")
    if z_a.shape[0] < 2:
        raise ValueError(f"batch statistics need 2 rows or more: use larger batches than {z_a.shape}")
