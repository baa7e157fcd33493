"""Codes of a batch that use all prototypes alike: Sinkhorn-Knopp (Caron et al. 2020, equations 3 to 5).

    Q* = Diag(u) exp(scores / epsilon) Diag(v)      1/K in all for each prototype, 1/B for each image

by turns: divide so that each prototype has 1/K over all images, then so that each image has 1/B over all prototypes.
The codes are B Q*: the last turn ends on images, and each one's code sums to 1. Of rows that are split over devices a
turn sums K numbers, and no more is sent.
"""

import jax
import jax.numpy as jnp


def sinkhorn_codes(
    scores: jax.Array,
    others: jax.Array | None = None,
    *,
    epsilon: float,
    iterations: int,
    count_others: jax.Array | bool = True,
) -> jax.Array:
    """The codes of B images, `[B, K]`, float32; no gradient.

    In the domain of logarithms, where no score is too large and no prototype too far from every image. The factors
    1/K and 1/B cancel, and are left out.

    Args:
      scores: `[B, K]` of images with prototypes.
      others: `[Q, K]` of images that take part, and whose codes are not wanted.
      epsilon: above 0; the larger, the more even is a code.
      iterations: turns, 1 or more.
      count_others: `[]` whether `others` do take part.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[0.4, 0.3], [0.2, 0.2], [0.3, 0.1]])  # the first prototype is everyone's
    >>> print(sinkhorn_codes(scores, epsilon=0.05, iterations=3).round(2))
    [[0.5  0.5 ]
     [0.12 0.88]
     [0.88 0.12]]
    """
    blocks = [scores] if others is None else [scores, others]
    logits = [jax.lax.stop_gradient(block).astype(jnp.float32) / epsilon for block in blocks]
    of_images = [jnp.zeros((len(block), 1)) for block in blocks]
    for _ in range(iterations):
        shares = [x - done for x, done in zip(logits, of_images, strict=True)]
        sums = [jax.nn.logsumexp(share, axis=0, keepdims=True) for share in shares]
        of_prototypes = sums[0]
        if others is not None:
            of_prototypes = jnp.where(count_others, jnp.logaddexp(*sums), sums[0])
        of_images = [jax.nn.logsumexp(x - of_prototypes, axis=1, keepdims=True) for x in logits]
    return jnp.exp(logits[0] - of_prototypes - of_images[0])
