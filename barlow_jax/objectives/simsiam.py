"""SimSiam (Chen and He 2021): each view predicts the other's embedding, behind a stop-gradient.

Equation 4, for predictions p and embeddings z:

    L = D(p_a, stopgrad(z_b)) / 2 + D(p_b, stopgrad(z_a)) / 2,    D(p, z) = -1/N sum_b cos(p_b, z_b)

L is between -1, where all views agree, and 1. There is no target network: predictor and stop-gradient prevent
collapse.
"""

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.covariance import vicreg_regularization
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.networks.unit_sphere import cosines
from barlow_jax.types import Objective, RunInfo


def simsiam_loss(p_a: jax.Array, p_b: jax.Array, z_a: jax.Array, z_b: jax.Array) -> jax.Array:
    """Compute equation 4.

    Args:
      p_a: `[N, D]` predictions of view a, any float dtype and length.
      p_b: `[N, D]` predictions of view b of the same images, in the same order.
      z_a: `[N, D]` embeddings of view a; no gradient.
      z_b: `[N, D]` embeddings of view b; no gradient.

    Returns:
      A float32 scalar from -1 to 1.

    Raises:
      ValueError: If the shapes differ or are not `[N, D]`.

    >>> import jax.numpy as jnp
    >>> p, z = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]])
    >>> print(simsiam_loss(p, z, z, z))  # view b's cosine is 0, view a's is 1
    -0.5
    """
    shapes = {x.shape for x in (p_a, p_b, z_a, z_b)}
    if len(shapes) > 1 or p_a.ndim != 2:
        raise ValueError(
            f"inputs must be four [N, D] arrays of one shape, got {', '.join(map(str, sorted(shapes)))}"
        )
    z_a, z_b = jax.lax.stop_gradient((z_a, z_b))
    return -(jnp.mean(cosines(p_a, z_b)) + jnp.mean(cosines(p_b, z_a))) / 2


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over views a and b."""
    settings = config.simsiam

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in "ab"]
        distance = simsiam_loss(*(outputs[name].prediction for name in "ab"), *embeddings)
        penalty, metrics = vicreg_regularization(embeddings, settings, config, run_info.reshard)
        value = config.scale * (distance + penalty)
        metrics = {"loss": value, "prediction_cosine": -distance, **metrics}
        return value, memory, metrics | embedding_statistics(embeddings, unit_length=True)

    return Objective(loss)
