"""One positive against many: the cross-entropy that SimCLR and MoCo share.

    l_b = -log( exp(p_b) / (exp(p_b) + sum_m exp(n_bm)) )

p and n are cosines over a temperature: equation 1 of Chen et al. 2020 (NT-Xent) and of He et al. 2020 (InfoNCE).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import product


class Contrast(NamedTuple):
    """Float32 scalars."""

    loss: jax.Array  # mean over the anchors
    accuracy: jax.Array  # share of anchors whose positive is above all others; no gradient


def info_nce(positive: jax.Array, *others: jax.Array) -> Contrast:
    """The loss of N anchors.

    Args:
      positive: `[N]` logits of each anchor with its positive.
      others: `[N, M]` logits with all others, in as many blocks as they come in; -inf is not there. Every row
        has one that is.

    >>> import jax.numpy as jnp
    >>> contrast = info_nce(jnp.array([2.0]), jnp.array([[2.0, -jnp.inf]]), jnp.array([[2.0, 1.0]]))
    >>> print(f"{contrast.loss:.3f}")
    1.214
    """
    rest = jax.nn.logsumexp(jnp.stack([jax.nn.logsumexp(block, axis=1) for block in others]), axis=0)
    best = jnp.max(jnp.stack([jnp.max(block, axis=1) for block in others]), axis=0)
    # softplus(r - p) keeps its digits where the positive has won, and log(e^p + e^r) - p would cancel.
    return Contrast(jnp.mean(jax.nn.softplus(rest - positive)), jnp.mean(positive > best))


def similarities(x: jax.Array, y: jax.Array, operand_dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """`[N, D]` and `[M, D]` to the `[N, M]` products of each row with each, float32.

    `operand_dtype` is what the product reads; it accumulates in float32.
    """
    return product("nd,md->nm", x, y, operand_dtype)
