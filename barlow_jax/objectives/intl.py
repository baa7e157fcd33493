"""INTL (Weng et al. 2024): views agree after iterative normalization; a trace loss prevents collapse.

Over the N embeddings x_b of a view, each minus the mean of its own D features:

    S    = X X^T / (D - 1)                                       [N, N]
    P_0  = I,    P_k = (3 P_(k-1) - P_(k-1)^3 S / tr S) / 2      Newton's iteration for (S / tr S)^(-1/2)
    Y    = P_K X / sqrt(tr S)
    T(Y) = sum_b (Var(y_b) - 1)^2                                unbiased, over the D features of an image
    L    = mean_{v > 1} [mean_b (2 - 2 cos(y_vb, y_1b)) + beta (T(Y_v) + T(Y_1))]

With infinitely many iterations Y would be whitened, and T 0; with four, eigenvalues of S are only moved
towards each other, which is stable at any rank of S. As in the official code S is the matrix of images
("channel whitening"; W-MSE whitens features), over the global batch, and beta is 0.01 (log2 N - 3).
"""

from collections.abc import Sequence
from functools import partial
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.standardization import check_views
from barlow_jax.networks.unit_sphere import cosines
from barlow_jax.types import Objective, RunInfo

_matmul = partial(jnp.matmul, precision="highest")
_TINY = 1e-18  # instead of the trace of embeddings that are all 0; its square is a normal float32


class IntlTerms(NamedTuple):
    """Unweighted terms of the loss; float32 scalars."""

    invariance: jax.Array  # mean 2 - 2 cos, 0 to 4
    trace: jax.Array  # mean over v > 1 of T(Y_v) + T(Y_1)


def normalize(z: jax.Array, iterations: int = 4) -> jax.Array:
    """Return Y, `[N, D]` float32, of `[N, D]` embeddings of any float dtype; N and D of 2 or more."""
    z = z.astype(jnp.float32)
    x = z - jnp.mean(z, axis=1, keepdims=True)
    s = _matmul(x, x.T) / (x.shape[1] - 1)
    trace = jnp.maximum(jnp.trace(s), _TINY)
    s, p = s / trace, jnp.eye(x.shape[0])
    for _ in range(iterations):
        p = 1.5 * p - 0.5 * _matmul(_matmul(p, _matmul(p, p)), s)
    return _matmul(p, x) / jnp.sqrt(trace)


def intl_loss(
    embeddings: Sequence[jax.Array], *, iterations: int = 4, trace_weight: float | None = None
) -> jax.Array:
    """Compute the INTL loss of the embeddings of two or more views.

    Args:
      embeddings: `[N, D]` of each view, any float dtype, of the same images in the same order.
      iterations: K, Newton's iterations.
      trace_weight: beta; None is 0.01 (log2 N - 3), for N > 8.

    Returns:
      A float32 scalar from 0.

    Raises:
      ValueError: If there is one view, or the shapes differ or are not `[N, D]`.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (32, 64))
    >>> print(" ".join(f"{intl_loss([z, y]):.3f}" for y in (z, 3 * z, -z)))
    0.351 0.351 4.351

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789
    """
    terms = intl_terms(embeddings, iterations=iterations)
    return terms.invariance + _weight(trace_weight, embeddings[0].shape[0]) * terms.trace


def intl_terms(embeddings: Sequence[jax.Array], *, iterations: int) -> IntlTerms:
    """Return the unweighted terms; arguments as in `intl_loss`."""
    check_views(embeddings)
    first, *others = (normalize(z, iterations) for z in embeddings)
    invariance = [2 - 2 * jnp.mean(cosines(y, first)) for y in others]
    trace = [_trace_loss(y) + _trace_loss(first) for y in others]
    return IntlTerms(*(sum(terms[1:], terms[0]) / len(others) for terms in (invariance, trace)))


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views; the others agree with view a.

    Raises:
      UserError: If the batch is too small for the default trace weight.
    """
    settings, batch_size = config.intl, run_info.batch_size
    if settings.trace_weight is None and batch_size <= 8:
        raise UserError(
            f"config.train.batch_size is {batch_size}, but the default of config.objective.intl.trace_weight "
            "needs more than 8 images. Use a larger batch, or set the weight."
        )
    weight = _weight(settings.trace_weight, batch_size)

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in run_info.views]
        terms = intl_terms(embeddings, iterations=settings.iterations)
        value = config.scale * (terms.invariance + weight * terms.trace)
        return value, memory, {"loss": value, **terms._asdict(), **embedding_statistics(embeddings)}

    return Objective(loss)


def _weight(trace_weight: float | None, rows: int) -> float:
    return 0.01 * (math.log2(rows) - 3) if trace_weight is None else trace_weight


def _trace_loss(y: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(jnp.var(y, axis=1, ddof=1) - 1))
