"""LARS (You et al. 2017) as the official Barlow Twins code has it, composed from optax.

For a weight p with gradient g at step t (biases and BatchNorm: d = g):

    d = g + weight_decay * p
    q = trust_coefficient * |p| / |d|        (1 where either norm is 0)
    m = momentum * m + q * d
    p = p - rate(t) * m

The rate comes after the momentum; `optax.lars` has it before, which is another update whenever the
rate moves.
"""

from typing import NamedTuple

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
    """The official update.

    Norms are sums of float32 squares. A weight whose |d| is below 1e-19 takes the plain step (q = 1), and one
    whose |d| is above 1e19 stays where it is (q = 0); a gradient that is not finite shows in the parameters.

    Args:
      rates: learning rate by parameter group (`param_groups`).
      momentum: of the heavy ball.
      weight_decay: added to the gradient of weights.
      trust_coefficient: factor of |p| / |d|.
      trust_clip: q = min(q / rate, 1): no layer moves further than plain SGD would move it. This is the
        "clip" of LARC, which solo-learn's CIFAR recipes use with a trust_coefficient of 0.02.
    """
    trust = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient)
    if trust_clip:
        trust = _scale_by_clipped_trust_ratio(trust_coefficient, rates[param_groups.WEIGHTS])
    return optax.chain(
        optax.masked(optax.add_decayed_weights(weight_decay), param_groups.is_weight),
        optax.masked(trust, param_groups.is_weight),
        optax.trace(momentum),
        param_groups.scale_by_learning_rates(rates),
    )


class _ClipState(NamedTuple):
    count: jax.Array  # [] int32, updates done


def _scale_by_clipped_trust_ratio(
    trust_coefficient: float, rate: optax.Schedule
) -> optax.GradientTransformation:
    def init(params: optax.Params) -> _ClipState:
        del params
        return _ClipState(jnp.zeros([], jnp.int32))

    def update(updates, state, params):
        current = rate(state.count)

        def scale(d: jax.Array, p: jax.Array) -> jax.Array:
            p_norm, d_norm = jnp.linalg.norm(p.ravel()), jnp.linalg.norm(d.ravel())
            ratio = trust_coefficient * p_norm / jnp.where(d_norm == 0, 1.0, d_norm)
            # q / rate is infinite at the warm-up's first step, where the minimum is 1 all the same.
            clipped = jnp.minimum(ratio / jnp.maximum(current, jnp.finfo(p.dtype).tiny), 1.0)
            return d * jnp.where((p_norm == 0) | (d_norm == 0), 1.0, clipped)

        return jax.tree.map(scale, updates, params), _ClipState(state.count + 1)

    return optax.GradientTransformation(init, update)
