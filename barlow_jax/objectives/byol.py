"""BYOL (Grill et al. 2020): each view predicts what a slowly moving copy of the network says of the other one.

Equation 2, for the online network's prediction q and the target network's embedding z', both on the unit sphere:

    L = 1/N sum_b |q(z_a) - z'_b|^2  +  the same with a and b exchanged,    |q - z'|^2 = 2 - 2 cos(q, z')

The target's parameters follow the online ones, xi <- tau xi + (1 - tau) theta, with the paper's cosine

    tau = 1 - (1 - tau_0) (cos(pi k / K) + 1) / 2

at step k of K. tau_0 = 0 stands for no moving average at all: the target is the online network itself, behind a
stop-gradient. A network without a predictor predicts with its embedding: with neither, BYOL collapses.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import health
from barlow_jax.losses.regularization import regularization
from barlow_jax.losses.sphere import unit_rows
from barlow_jax.types import LossContext, Metrics, Objective, Outputs, RunInfo, Target


def byol_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """One direction of equation 2, a float32 scalar from 0 to 4; the target has no gradient.

    As squared distances, like the official code: 2 - 2 cos would lose digits where the two agree.

    Args:
      prediction: `[N, D]` of one view, any float dtype and length.
      target: `[N, D]` embeddings of the other view, row by row of the same images.

    Raises:
      ValueError: the shapes differ or are not `[N, D]`.

    >>> import jax.numpy as jnp
    >>> print(byol_loss(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[3.0, 0.0], [1.0, 0.0]])))
    1.0
    """
    if prediction.ndim != 2 or prediction.shape != target.shape:
        raise ValueError(
            f"expected two [N, D] arrays of one shape, got {prediction.shape} and {target.shape}"
        )
    distance = unit_rows(prediction) - jax.lax.stop_gradient(unit_rows(target))
    return jnp.mean(jnp.sum(jnp.square(distance), axis=1))


def cosine_momentum(start: float, num_steps: int) -> Callable[[jax.Array], jax.Array]:
    """tau by the updates done before: `start` at 0, 1 from `num_steps` on."""

    def momentum(step: jax.Array) -> jax.Array:
        done = jnp.minimum(jnp.asarray(step, jnp.float32) / num_steps, 1.0)
        return 1 - (1 - start) * (jnp.cos(jnp.pi * done) + 1) / 2

    return momentum


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over views a and b."""
    settings = config.byol
    moving = settings.target_momentum > 0
    target = (
        Target(cosine_momentum(settings.target_momentum, setup.num_steps), ("a", "b")) if moving else None
    )

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        pair = [outputs[name].embedding for name in "ab"]
        predictions = [
            outputs[name].embedding if outputs[name].prediction is None else outputs[name].prediction
            for name in "ab"
        ]
        targets = [(context.targets if moving else outputs)[name].embedding for name in "ab"]
        distance = byol_loss(predictions[0], targets[1]) + byol_loss(predictions[1], targets[0])
        more, metrics = regularization(
            pair,
            variance_weight=settings.variance_weight,
            covariance_weight=settings.covariance_weight,
            form=config.form,
            reshard=setup.reshard,
            operand_dtype=jnp.dtype(config.operand_dtype),
        )
        value = config.scale * (distance + more)
        # 2 - 2 cos in each of two directions.
        metrics = {"loss": value, "prediction_cosine": 1 - distance / 4, **metrics}
        return value, memory, metrics | health.spread(pair, directions=True)

    return Objective(loss, target=target)
