"""VICReg (Bardes, Ponce, LeCun 2022): views agree, every feature varies, different features are uncorrelated.

Equation 6 with the coefficients of the official code:

    s(Z, Z') = 1/(N D) sum_bi (z_bi - z'_bi)^2
    L = lambda s(Z, Z')  +  mu f [v(Z) + v(Z')]  +  nu [c(Z) + c(Z')]

`losses/covariance.py` defines v and c. Code and paper differ twice: the code halves the variance terms
(f = 1/2, the mean of both views; the paper has f = 1), and it averages s over features, where equation 5
divides by N only. Here s is always the code's.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Vicreg
from barlow_jax.losses.correlation import Form
from barlow_jax.losses.covariance import covariance_energy, variance_hinge
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.pairs import mean_over_pairs
from barlow_jax.losses.standardization import check_views
from barlow_jax.types import Objective, Reshard, RunInfo

_VARIANCE_FACTORS = {"code": 0.5, "paper": 1.0}


def vicreg_loss(
    z_a: jax.Array,
    z_b: jax.Array,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    variance_factor: Literal["code", "paper"] = "code",
    target_std: float = 1.0,
    epsilon: float = 1e-4,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> jax.Array:
    """Compute the VICReg loss of two views' embeddings, equation 6 of the paper.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype, N >= 2.
      z_b: `[N, D]` embeddings of the other view of the same images, in the same order.
      invariance_weight: lambda.
      variance_weight: mu.
      covariance_weight: nu.
      variance_factor: "code" takes the mean of both views' variance terms, "paper" their sum.
      target_std: gamma, the standard deviation above which a feature has no variance term.
      epsilon: Added to the variance under the root.
      form: "direct", "gram" or "auto": how the covariance term is computed (`covariance_energy`).
      reshard: How the mesh lays embeddings out by features (`Layout.reshard`); None keeps their layout.
      operand_dtype: Operand dtype of the covariance's large matrix products.

    Returns:
      A float32 scalar. It is 0 if both views are equal, each feature's std is gamma or more, and no two
      features are correlated.

    Raises:
      ValueError: If the shapes differ or are not `[N, D]`, or if N is 1 (a variance needs two rows).

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(f"{vicreg_loss(z, z):.4f} {vicreg_loss(z, -z):.4f}")
    0.0000 100.0000

    References:
      Bardes, Ponce, LeCun 2022, https://arxiv.org/abs/2105.04906
    """
    weights = invariance_weight, variance_weight, covariance_weight
    settings = Vicreg(*weights, variance_factor, target_std, epsilon)
    terms = vicreg_terms(z_a, z_b, settings, form=form, reshard=reshard, operand_dtype=operand_dtype)
    return _weighted(terms, settings)


class VicregTerms(NamedTuple):
    """Unweighted terms of the loss; float32 scalars."""

    invariance: jax.Array  # s(Z, Z')
    variance: jax.Array  # f [v(Z) + v(Z')]
    covariance: jax.Array  # c(Z) + c(Z')


def vicreg_terms(
    z_a: jax.Array,
    z_b: jax.Array,
    settings: Vicreg,
    *,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> VicregTerms:
    """Return the three unweighted terms of equation 6; arguments as in `vicreg_loss`."""
    check_views([z_a, z_b])
    if reshard:
        z_a, z_b = reshard.by_features(z_a), reshard.by_features(z_b)
    hinge = partial(variance_hinge, target_std=settings.target_std, epsilon=settings.epsilon)
    energy = partial(covariance_energy, form=form, reshard=reshard, operand_dtype=operand_dtype)
    return VicregTerms(
        invariance=jnp.mean(jnp.square(z_a.astype(jnp.float32) - z_b.astype(jnp.float32))),
        variance=_VARIANCE_FACTORS[settings.variance_factor] * (hinge(z_a) + hinge(z_b)),
        covariance=energy(z_a) + energy(z_b),
    )


def _weighted(terms: VicregTerms, settings: Vicreg) -> jax.Array:
    return (
        settings.invariance_weight * terms.invariance
        + settings.variance_weight * terms.variance
        + settings.covariance_weight * terms.covariance
    )


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all pairs of views.

    Its metrics are the three terms and `covariance_rms`, the root mean square of the covariances of different
    features, which is comparable between widths.
    """
    settings = config.vicreg

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in run_info.views]
        products = {"form": config.form, "operand_dtype": jnp.dtype(config.operand_dtype)}
        options = {"settings": settings, "reshard": run_info.reshard, **products}
        terms = mean_over_pairs(partial(vicreg_terms, **options), embeddings)
        value = config.scale * _weighted(terms, settings)
        pairs = 2 * max(1, embeddings[0].shape[1] - 1)  # per feature, in two views
        rms = jnp.sqrt(jnp.maximum(terms.covariance, 0.0) / pairs)
        metrics = {"loss": value, **terms._asdict(), "covariance_rms": rms}
        return value, memory, metrics | embedding_statistics(embeddings)

    return Objective(loss)
