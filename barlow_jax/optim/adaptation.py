"""Updates of continued pretraining: a frozen encoder at first, layer-wise learning rates, and an anchor.

With updates u of any optimizer, step t of T, depth l of L, and F = freeze T:

    u_heads stays,    u_l <- r_l(t) (u_l - weight s(t) (theta_l - theta_l(0)))
    r_l(t) = encoder_rate layer_decay^(L - l) clip((t - F) / F, 0, 1)

s is the learning rate relative to its peak. The encoder does not change before step F. New heads are trained
on the start's features first, as their random gradients would distort these (Kumar et al. 2022,
https://arxiv.org/abs/2202.10054); layer-wise rates as in BEiT (Bao et al. 2022). The anchor is L2-SP (Li et
al. 2018, https://arxiv.org/abs/1802.01483), decoupled from the gradient as AdamW's weight decay is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from barlow_jax.config.training import Adapt

ANCHOR_WEIGHTS = {"none": 0.0, "weights": 1e-3, "features": 1.0}  # if the config has none


def anchor_weight(config: Adapt) -> float:
    """Return the weight of the anchor."""
    return ANCHOR_WEIGHTS[config.anchor] if config.anchor_weight is None else config.anchor_weight


class AdaptationState(NamedTuple):
    """Number of updates, and the encoder's initial parameters if they are the anchor."""

    updates: jax.Array
    start: Any


def adapt(
    config: Adapt, depths: Callable[[Any], Any], rate: optax.Schedule, num_steps: int, offset: int = 0
) -> optax.GradientTransformation:
    """Return the transformation that follows the optimizer.

    Args:
      config: constants.
      depths: returns the tree of depths of the encoder's parameters.
      rate: learning rate relative to its peak as a function of the updates done.
      num_steps: T.
      offset: added to the updates done for t (`EpochSampler.schedule_offset`).
    """
    frozen = config.freeze * num_steps
    pull = anchor_weight(config) if config.anchor == "weights" else 0.0

    def init(params: Any) -> AdaptationState:
        return AdaptationState(jnp.zeros([], jnp.int32), params["encoder"] if pull else {})

    def update(updates: Any, state: AdaptationState, params: Any) -> tuple[Any, AdaptationState]:
        t, encoder = state.updates + offset, updates["encoder"]
        if pull:
            back = pull * rate(state.updates)
            encoder = jax.tree.map(
                lambda u, p, p0: u - back * (p - p0), encoder, params["encoder"], state.start
            )
        # Without a frozen part the rate is full from the first step on.
        opened = jnp.clip((t - frozen) / frozen, 0, 1) if frozen else 1.0
        tree = depths(encoder)
        last = max(jax.tree.leaves(tree))
        encoder = jax.tree.map(
            lambda u, depth: config.encoder_rate * config.layer_decay ** (last - depth) * opened * u,
            encoder,
            tree,
        )
        return updates | {"encoder": encoder}, state._replace(updates=state.updates + 1)

    return optax.GradientTransformation(init, update)
