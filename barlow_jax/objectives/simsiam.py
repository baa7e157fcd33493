"""SimSiam (Chen and He 2021): each view predicts the other's embedding, which stands still.

Equation 4, for predictions p and embeddings z:

    L = D(p_a, stopgrad(z_b)) / 2 + D(p_b, stopgrad(z_a)) / 2,    D(p, z) = -1/N sum_b cos(p_b, z_b)

From -1, where all agree, to 1. There is no other network: predictor and stop-gradient keep it from collapsing.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import health
from barlow_jax.losses.regularization import regularization
from barlow_jax.losses.sphere import cosines
from barlow_jax.types import LossContext, Metrics, Objective, Outputs, RunInfo


def simsiam_loss(p_a: jax.Array, p_b: jax.Array, z_a: jax.Array, z_b: jax.Array) -> jax.Array:
    """Equation 4, a float32 scalar; z has no gradient.

    Args:
      p_a: `[N, D]` predictions of view a, any float dtype and length.
      p_b: of view b.
      z_a: `[N, D]` embeddings of view a, row by row of the same images.
      z_b: of view b.

    Raises:
      ValueError: the shapes differ or are not `[N, D]`.

    >>> import jax.numpy as jnp
    >>> p, z = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]])
    >>> print(simsiam_loss(p, z, z, z))  # view b is predicted at a right angle, view a as it is
    -0.5
    """
    shapes = {x.shape for x in (p_a, p_b, z_a, z_b)}
    if len(shapes) > 1 or p_a.ndim != 2:
        raise ValueError(
            f"expected four [N, D] arrays of one shape, got {', '.join(map(str, sorted(shapes)))}"
        )
    z_a, z_b = jax.lax.stop_gradient((z_a, z_b))
    return -(jnp.mean(cosines(p_a, z_b)) + jnp.mean(cosines(p_b, z_a))) / 2


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over views a and b."""
    settings = config.simsiam

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        del context
        pair = [outputs[name].embedding for name in "ab"]
        distance = simsiam_loss(*(outputs[name].prediction for name in "ab"), *pair)
        more, metrics = regularization(
            pair,
            variance_weight=settings.variance_weight,
            covariance_weight=settings.covariance_weight,
            form=config.form,
            reshard=setup.reshard,
            operand_dtype=jnp.dtype(config.operand_dtype),
        )
        value = config.scale * (distance + more)
        metrics = {"loss": value, "prediction_cosine": -distance, **metrics}
        return value, memory, metrics | health.spread(pair, directions=True)

    return Objective(loss)
