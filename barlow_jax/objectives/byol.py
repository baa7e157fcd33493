"""BYOL (Grill et al. 2020): each view predicts the embedding that a slow copy of the network gives the other.

Equation 2, for the online network's prediction q and the target network's embedding z', both on the unit
sphere:

    L = 1/N sum_b |q(z_a) - z'_b|^2  +  the same with a and b exchanged,    |q - z'|^2 = 2 - 2 cos(q, z')

The target's parameters follow the online ones, xi <- tau xi + (1 - tau) theta, with the paper's cosine

    tau = 1 - (1 - tau_0) (cos(pi k / K) + 1) / 2

at step k of K. tau_0 = 0 disables the moving average: the target is the online network itself, behind a
stop-gradient. Without a predictor the prediction is the embedding. With neither, BYOL collapses.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.covariance import vicreg_regularization
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Objective, RunInfo, Target


def byol_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Compute one direction of equation 2.

    Squared distances, as in the official code, keep the digits that 2 - 2 cos would lose near agreement.

    Args:
      prediction: `[N, D]` predictions of one view, any float dtype and length.
      target: `[N, D]` target embeddings of the other view of the same images, in the same order; no gradient.

    Returns:
      A float32 scalar from 0 to 4.

    Raises:
      ValueError: If the shapes differ or are not `[N, D]`.

    >>> import jax.numpy as jnp
    >>> print(byol_loss(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[3.0, 0.0], [1.0, 0.0]])))
    1.0
    """
    if prediction.ndim != 2 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must be [N, D] of one shape, got {prediction.shape} and {target.shape}"
        )
    distance = unit_rows(prediction) - jax.lax.stop_gradient(unit_rows(target))
    return jnp.mean(jnp.sum(jnp.square(distance), axis=1))


def cosine_momentum(start: float, num_steps: int) -> Callable[[jax.Array], jax.Array]:
    """Return tau as a function of the number of updates done: `start` at 0, and 1 from `num_steps` on.

    `optax.cosine_decay_schedule` rounds pi k / K in another order: up to 6e-8 from this.
    """

    def momentum(step: jax.Array) -> jax.Array:
        done = jnp.minimum(jnp.asarray(step, jnp.float32) / num_steps, 1.0)
        return 1 - (1 - start) * (jnp.cos(jnp.pi * done) + 1) / 2

    return momentum


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over views a and b."""
    settings = config.byol
    target = None
    if settings.target_momentum > 0:
        target = Target(cosine_momentum(settings.target_momentum, run_info.num_steps), ("a", "b"))

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in "ab"]
        predictions = [outputs[name].prediction for name in "ab"]
        predictions = embeddings if predictions[0] is None else predictions
        targets = [(context.targets if target else outputs)[name].embedding for name in "ab"]
        distance = byol_loss(predictions[0], targets[1]) + byol_loss(predictions[1], targets[0])
        penalty, metrics = vicreg_regularization(embeddings, settings, config, run_info.reshard)
        value = config.scale * (distance + penalty)
        # The distance is 2 - 2 cos in each of the two directions.
        metrics = {"loss": value, "prediction_cosine": 1 - distance / 4, **metrics}
        return value, memory, metrics | embedding_statistics(embeddings, unit_length=True)

    return Objective(loss, target=target)
