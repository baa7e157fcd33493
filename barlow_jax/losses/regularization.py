"""VICReg's variance and covariance terms, added to a method that has neither (Bardes, Ponce, LeCun 2022, table 4).

mu (v(Z_a) + v(Z_b)) + nu (c(Z_a) + c(Z_b)), as in the paper's equation 6; `covariance.py` has v and c.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import Form
from barlow_jax.losses.covariance import covariance_energy, variance_hinge
from barlow_jax.types import Metrics, Reshard


def regularization(
    embeddings: Sequence[jax.Array],
    *,
    variance_weight: float,
    covariance_weight: float,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> tuple[jax.Array | float, Metrics]:
    """The weighted sum, and the mean over views of each of its terms. A term without weight is not computed.

    Args:
      embeddings: `[N, D]` of each view.
      variance_weight: mu.
      covariance_weight: nu.
      form: of the covariance term; this one and those below as of `covariance_energy`.
      reshard: how the mesh lays embeddings out by features.
      operand_dtype: of what large products read.
    """
    value, metrics = 0.0, {}
    if variance_weight:
        by_features = [reshard.by_features(z) if reshard else z for z in embeddings]
        variances = jnp.stack([variance_hinge(z) for z in by_features])
        value += variance_weight * jnp.sum(variances)
        metrics["variance"] = jnp.mean(variances)
    if covariance_weight:
        of_view = [
            covariance_energy(z, form=form, reshard=reshard, operand_dtype=operand_dtype) for z in embeddings
        ]
        covariances = jnp.stack(of_view)
        value += covariance_weight * jnp.sum(covariances)
        metrics["covariance"] = jnp.mean(covariances)
    return value, metrics
