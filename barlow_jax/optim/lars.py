"""LARS (You et al. 2017) as in the official Barlow Twins code, composed from optax.

For a weight p with gradient g at step t (biases and BatchNorm: d = g):

    d = g + weight_decay * p
    q = trust_coefficient * |p| / |d|        (1 if either norm is 0)
    m = momentum * m + q * d
    p = p - rate(t) * m

The rate is applied after the momentum. `optax.lars` applies it before, which gives a different update
whenever the rate changes.
"""

import jax
import jax.numpy as jnp
import optax

from barlow_jax.optim import param_groups


def lars(
    rates: dict[str, optax.Schedule],
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-6,
    trust_coefficient: float = 0.001,
    trust_clip: bool = False,
) -> optax.GradientTransformation:
    """Build the official update.

    Norms are computed from float32 squares. A weight with |d| below 1e-19 takes the plain step (q = 1), and
    one with |d| above 1e19 does not change (q = 0). Non-finite gradients propagate to the parameters.

    Args:
      rates: Learning rate by parameter group (`param_groups`).
      momentum: Heavy-ball momentum.
      weight_decay: Factor of p in d, for weights.
      trust_coefficient: Factor of |p| / |d|.
      trust_clip: Uses q = min(q / rate, 1), so that no layer moves further than with plain SGD. This is the
        "clip" of LARC, which solo-learn's CIFAR recipes use with a trust_coefficient of 0.02.
    """
    trust = _scale_by_trust_ratio(trust_coefficient, rates[param_groups.WEIGHTS] if trust_clip else None)
    return optax.chain(
        optax.masked(optax.add_decayed_weights(weight_decay), param_groups.is_weight),
        optax.masked(trust, param_groups.is_weight),
        optax.trace(momentum),
        param_groups.scale_by_learning_rates(rates),
    )


def _scale_by_trust_ratio(
    trust_coefficient: float, clip_rate: optax.Schedule | None
) -> optax.GradientTransformation:
    """Return q d; `optax.scale_by_trust_ratio` reads p and d once more, since it computes each norm twice."""

    def init(params):
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32)) if clip_rate else optax.EmptyState()

    def update(updates, state, params):
        # At the warmup's first step the rate is 0 and q / rate overflows; the minimum is then 1.
        rate = jnp.maximum(clip_rate(state.count), jnp.finfo(jnp.float32).tiny) if clip_rate else None

        def scale(d: jax.Array, p: jax.Array) -> jax.Array:
            p_norm, d_norm = jnp.linalg.norm(p.ravel()), jnp.linalg.norm(d.ravel())
            ratio = trust_coefficient * p_norm / jnp.where(d_norm == 0, 1.0, d_norm)
            ratio = ratio if rate is None else jnp.minimum(ratio / rate, 1.0)
            return d * jnp.where((p_norm == 0) | (d_norm == 0), 1.0, ratio)

        updates = jax.tree.map(scale, updates, params)
        return updates, state._replace(count=state.count + 1) if clip_rate else state

    return optax.GradientTransformation(init, update)
