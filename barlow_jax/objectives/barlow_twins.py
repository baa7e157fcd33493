"""Barlow Twins (Zbontar et al. 2021): the cross-correlation of two views' embeddings is the identity.

Equation 1 with the normalization of the official code (BatchNorm without scale and shift, eps 1e-5):

    A = (z_a - mean) / sqrt(var + eps)      B likewise, each view over its own batch
    C = A^T B / N
    L = sum_i (1 - C_ii)^2  +  lambda * sum_i sum_{j != i} C_ij^2

The sums are not divided by D. Everything is computed in float32 at the highest matmul precision, unless
bfloat16 operands are requested for the large products. `losses/correlation.py` computes the second sum in two
ways; `losses/barlow_twins_ablations.py` has the ablations of the paper's table 5.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.barlow_twins_ablations import ablated_terms
from barlow_jax.losses.correlation import CorrelationTerms, Form, off_diagonal_energy, resolve_form
from barlow_jax.losses.embedding_statistics import standardized_embedding_statistics
from barlow_jax.losses.pairs import mean_over_pairs
from barlow_jax.losses.standardization import check_views, standardize
from barlow_jax.types import Objective, Reshard, RunInfo


def barlow_twins_loss(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    off_diagonal_weight: float,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """Compute the Barlow Twins loss of two views' embeddings, equation 1 of the paper.

    The function needs no mesh. Under jit, with rows sharded over devices, it is the loss of the global batch.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype, N >= 2.
      z_b: `[N, D]` embeddings of the other view of the same images, in the same order.
      off_diagonal_weight: lambda; 0.0051 in the official code.
      form: "direct" builds the D x D matrix, "gram" two N x N matrices, "auto" selects the cheaper one
        (`correlation.choose_form`). Both are exact. If N is above D and C is near the identity, "gram" loses
        digits of the small second sum.
      reshard: How the mesh lays embeddings out by features (`Layout.reshard`); None keeps their layout.
      operand_dtype: Operand dtype of the large matrix products, which always accumulate in float32. bfloat16
        takes a sixth of the passes on a TPU and changes the loss by up to 1e-5 and its gradient by up to
        1e-3, relative (the first sum stays in float32).

    Returns:
      A float32 scalar, 0 if C is the identity.

    Raises:
      ValueError: If the shapes differ or are not `[N, D]`, or if N is 1 (batch statistics need two rows).

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(f"{barlow_twins_loss(z, z, off_diagonal_weight=0.0051):.4f}")
    0.0000

    References:
      Zbontar, Jing, Misra, LeCun, Deny 2021, https://arxiv.org/abs/2103.03230
    """
    (z_a, z_b), form = _prepare([z_a, z_b], form, reshard)
    terms = barlow_twins_terms(z_a, z_b, form=form, operand_dtype=operand_dtype)
    return terms.invariance + off_diagonal_weight * terms.redundancy


def barlow_twins_terms(
    z_a: jax.Array, z_b: jax.Array, *, form: Form = "direct", operand_dtype: jnp.dtype = jnp.float32
) -> CorrelationTerms:
    """Return the unweighted terms of equation 1; arguments as in `barlow_twins_loss`, except "auto"."""
    a, b = standardize(z_a), standardize(z_b)
    diagonal = jnp.mean(a * b, axis=0)  # C_ii
    return CorrelationTerms(
        invariance=jnp.sum(jnp.square(1.0 - diagonal)),
        redundancy=off_diagonal_energy(a, b, diagonal, form=form, operand_dtype=operand_dtype),
        diagonal_mean=jnp.mean(diagonal),
    )


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all pairs of views, with metrics that are comparable between widths.

    A predictor, if the network has one, acts on view a and `stop_gradient` on view b (table 6).
    """
    settings = config.barlow_twins
    ablations = {name: getattr(settings, name) for name in ("normalization", "off_diagonal", "temperature")}
    is_ablated = ablations != {"normalization": "batch", "off_diagonal": "cross", "temperature": None}

    def loss(outputs, memory, context):
        z_a, *others = (outputs[name].embedding for name in run_info.views)
        z_a = z_a if outputs["a"].prediction is None else outputs["a"].prediction
        if settings.stop_gradient:
            others = [jax.lax.stop_gradient(z) for z in others]
        embeddings, form = _prepare([z_a, *others], config.form, run_info.reshard)
        products = {"form": form, "operand_dtype": jnp.dtype(config.operand_dtype)}
        if is_ablated:
            terms = mean_over_pairs(partial(ablated_terms, **ablations, **products), embeddings)
        else:
            terms = mean_over_pairs(partial(barlow_twins_terms, **products), embeddings)
        value = config.scale * (
            settings.invariance_weight * terms.invariance + settings.off_diagonal_weight * terms.redundancy
        )
        width = 1 if settings.temperature else z_a.shape[1]  # a cross-entropy does not grow with D
        metrics = {
            "loss": value,
            "invariance": terms.invariance / width,
            "redundancy": terms.redundancy / width,
            "diagonal_mean": terms.diagonal_mean,
            "off_diagonal_rms": jnp.sqrt(terms.redundancy / max(1.0, width * (width - 1.0))),
        }
        return value, memory, metrics | standardized_embedding_statistics(*embeddings[:2])

    return Objective(loss)


def cross_correlation(z_a: jax.Array, z_b: jax.Array) -> jax.Array:
    """Return C, `[D, D]`, of two views' `[N, D]` embeddings."""
    (z_a, z_b), _ = _prepare([z_a, z_b], "direct", None)
    return jnp.matmul(standardize(z_a).T, standardize(z_b), precision="highest") / z_a.shape[0]


def _prepare(
    embeddings: Sequence[jax.Array], form: Form, reshard: Reshard | None
) -> tuple[Sequence[jax.Array], Form]:
    """Check the shapes, resolve the form and lay the embeddings out by features."""
    check_views(embeddings)
    rows, width = embeddings[0].shape
    if rows < 2:
        raise ValueError(f"batch statistics need 2 rows or more, got {(rows, width)}; use a larger batch")
    form = resolve_form(form, rows, width, reshard)
    return [reshard.by_features(z) for z in embeddings] if reshard else embeddings, form
