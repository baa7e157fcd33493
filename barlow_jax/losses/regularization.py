"""VICReg's variance and covariance terms, for methods that have neither (Bardes, Ponce, LeCun 2022, table 4).

    mu (v(Z_a) + v(Z_b)) + nu (c(Z_a) + c(Z_b))

as in the paper's equation 6; `covariance.py` defines v and c.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import Form
from barlow_jax.losses.covariance import covariance_energy, variance_hinge
from barlow_jax.types import Metrics, Reshard


def vicreg_regularization(
    embeddings: Sequence[jax.Array],
    *,
    variance_weight: float,
    covariance_weight: float,
    form: Form = "auto",
    reshard: Reshard | None = None,
    operand_dtype: jnp.dtype = jnp.float32,
) -> tuple[jax.Array | float, Metrics]:
    """Return the weighted sum, and the mean over views of each term. A term of weight 0 is not computed.

    Args:
      embeddings: `[N, D]` of each view.
      variance_weight: mu.
      covariance_weight: nu.
      form: How the covariance term is computed; this and the arguments below as in `covariance_energy`.
      reshard: How the mesh lays embeddings out by features.
      operand_dtype: Operand dtype of the large matrix products.
    """
    value, metrics = 0.0, {}
    if variance_weight:
        by_features = [reshard.by_features(z) if reshard else z for z in embeddings]
        variances = jnp.stack([variance_hinge(z) for z in by_features])
        value += variance_weight * jnp.sum(variances)
        metrics["variance"] = jnp.mean(variances)
    if covariance_weight:
        covariances = jnp.stack(
            [
                covariance_energy(z, form=form, reshard=reshard, operand_dtype=operand_dtype)
                for z in embeddings
            ]
        )
        value += covariance_weight * jnp.sum(covariances)
        metrics["covariance"] = jnp.mean(covariances)
    return value, metrics
