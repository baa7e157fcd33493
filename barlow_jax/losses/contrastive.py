"""Contrastive cross-entropy of one positive against many negatives, shared by SimCLR and MoCo.

    l_b = -log( exp(p_b) / (exp(p_b) + sum_m exp(n_bm)) )

p and n are cosines over a temperature: equation 1 of Chen et al. 2020 (NT-Xent) and He et al. 2020 (InfoNCE).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.losses.correlation import product


class LossAndAccuracy(NamedTuple):
    """Float32 scalars of a contrastive loss."""

    loss: jax.Array  # mean over the anchors
    accuracy: jax.Array  # fraction of anchors whose positive exceeds all negatives; no gradient


def info_nce(positive: jax.Array, *negatives: jax.Array) -> LossAndAccuracy:
    """Return the InfoNCE loss of N anchors and the fraction of them that is classified correctly.

    Args:
      positive: `[N]` logits of each anchor with its positive.
      negatives: Blocks of `[N, M]` logits with the negatives. -inf masks an entry; every row needs at least
        one finite entry.

    >>> import jax.numpy as jnp
    >>> result = info_nce(jnp.array([2.0]), jnp.array([[2.0, -jnp.inf]]), jnp.array([[2.0, 1.0]]))
    >>> print(f"{result.loss:.3f}")
    1.214
    """
    rest = jax.nn.logsumexp(jnp.stack([jax.nn.logsumexp(block, axis=1) for block in negatives]), axis=0)
    hardest = jnp.max(jnp.stack([jnp.max(block, axis=1) for block in negatives]), axis=0)
    # softplus(r - p) keeps its digits when the positive dominates; log(e^p + e^r) - p would cancel.
    return LossAndAccuracy(jnp.mean(jax.nn.softplus(rest - positive)), jnp.mean(positive > hardest))


def similarities(x: jax.Array, y: jax.Array, operand_dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Return the `[N, M]` float32 inner products of the rows of x, `[N, D]`, with those of y, `[M, D]`.

    The operands are cast to `operand_dtype`; the product accumulates in float32.
    """
    return product("nd,md->nm", x, y, operand_dtype)
