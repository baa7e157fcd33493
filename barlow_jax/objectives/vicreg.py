"""VICReg (Bardes, Ponce, LeCun 2022): two views agree, features vary, and no two of them vary together.

Equation 6 with the coefficients of the official code:

    s(Z, Z') = 1/(N D) sum_bi (z_bi - z'_bi)^2
    L = lambda s(Z, Z')  +  mu f [v(Z) + v(Z')]  +  nu [c(Z) + c(Z')]

v and c are in `losses/covariance.py`. Code and paper differ twice: the code halves the variance terms (f = 1/2,
the mean of both views; "paper" is f = 1), and it averages s over features, where equation 5 divides by N alone.
Here s is the code's in either case.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.correlation import Form
from barlow_jax.losses.covariance import covariance_energy, variance_hinge
from barlow_jax.losses.health import spread
from barlow_jax.types import LossContext, Metrics, Objective, Outputs, Reshard, RunInfo

_FACTORS = {"code": 0.5, "paper": 1.0}


class Terms(NamedTuple):
    """What the loss is the weighted sum of. All scalars."""

    invariance: jax.Array  # s(Z, Z')
    variance: jax.Array  # f [v(Z) + v(Z')]
    covariance: jax.Array  # c(Z) + c(Z')


def vicreg_terms(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    variance_factor: Literal["code", "paper"] = "code",
    target_deviation: float = 1.0,
    epsilon: float = 1e-4,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> Terms:
    """The three terms of equation 6, unweighted; arguments as of `vicreg_loss`."""
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"expected two [N, D] arrays of one shape, got {z_a.shape} and {z_b.shape}")
    if reshard:
        z_a, z_b = reshard.by_features(z_a), reshard.by_features(z_b)
    views = (z_a, z_b)
    variances = [variance_hinge(z, target_deviation=target_deviation, epsilon=epsilon) for z in views]
    covariances = [
        covariance_energy(z, form=form, reshard=reshard, operand_dtype=operand_dtype) for z in views
    ]
    return Terms(
        invariance=jnp.mean(jnp.square(z_a.astype(jnp.float32) - z_b.astype(jnp.float32))),
        variance=_FACTORS[variance_factor] * sum(variances),
        covariance=sum(covariances),
    )


def vicreg_loss(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    variance_factor: Literal["code", "paper"] = "code",
    target_deviation: float = 1.0,
    epsilon: float = 1e-4,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """The VICReg loss of two views' embeddings; equation 6 of the paper.

    Works on its own, outside any mesh; under jit with rows sharded over devices it is the loss of the
    global batch.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype, N >= 2.
      z_b: `[N, D]` embeddings of the other view, row by row of the same images.
      invariance_weight: lambda.
      variance_weight: mu.
      covariance_weight: nu.
      variance_factor: "code" takes the mean of both views' variance terms, "paper" their sum.
      target_deviation: gamma, the standard deviation from which on a feature has no variance term.
      epsilon: added to the variance under the root.
      form: "direct", "gram" or "auto": how the covariance term is computed (`covariance_energy`).
      reshard: how the mesh lays embeddings out by features (`Layout.reshard`); None leaves them as they are.
      operand_dtype: of what the covariance's large matrix products read.

    Returns:
      A float32 scalar, 0 where both views are one, each feature's deviation is gamma or more, and no two
      are correlated.

    Raises:
      ValueError: the shapes differ, are not `[N, D]`, or N is 1 (a variance needs two).

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(f"{vicreg_loss(z, z):.4f} {vicreg_loss(z, -z):.4f}")
    0.0000 100.0000
    """
    terms = vicreg_terms(
        z_a,
        z_b,
        variance_factor=variance_factor,
        target_deviation=target_deviation,
        epsilon=epsilon,
        form=form,
        reshard=reshard,
        operand_dtype=operand_dtype,
    )
    return (
        invariance_weight * terms.invariance
        + variance_weight * terms.variance
        + covariance_weight * terms.covariance
    )


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over views a and b. Metrics: the three terms, and the root mean square of the covariances of
    different features, which can be compared between widths as it is."""
    settings = config.vicreg

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        del context
        z_a, z_b = outputs["a"].embedding, outputs["b"].embedding
        terms = vicreg_terms(
            z_a,
            z_b,
            variance_factor=settings.variance_factor,
            target_deviation=settings.target_std,
            epsilon=settings.epsilon,
            form=config.form,
            reshard=setup.reshard,
            operand_dtype=jnp.dtype(config.operand_dtype),
        )
        value = config.scale * (
            settings.invariance_weight * terms.invariance
            + settings.variance_weight * terms.variance
            + settings.covariance_weight * terms.covariance
        )
        others = max(1, z_a.shape[1] - 1)  # of each feature, in each of two views
        rms = jnp.sqrt(jnp.maximum(terms.covariance, 0.0) / (2 * others))
        metrics = {"loss": value, **terms._asdict(), "covariance_rms": rms, **spread([z_a, z_b])}
        return value, memory, metrics

    return Objective(loss)
