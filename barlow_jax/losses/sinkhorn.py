"""Sinkhorn-Knopp codes: soft assignments that use all prototypes equally (Caron et al. 2020, eq. 3 to 5).

    Q* = Diag(u) exp(scores / epsilon) Diag(v)      each prototype sums to 1/K, each image to 1/B

Each iteration first normalizes each prototype to 1/K over all images, then each image to 1/B over all
prototypes. The codes are B Q*: the last step normalizes images, so each code sums to 1. With rows split over
devices, an iteration sums K numbers over the devices and communicates nothing else.
"""

import jax
import jax.numpy as jnp


def sinkhorn_codes(
    scores: jax.Array,
    queue_scores: jax.Array | None = None,
    *,
    epsilon: float,
    iterations: int,
    use_queue: jax.Array | bool = True,
) -> jax.Array:
    """Return the `[B, K]` float32 codes of B images, without a gradient.

    The computation is in the logarithmic domain, where no score overflows and no prototype is too far from
    every image. The factors 1/K and 1/B cancel and are left out.

    Args:
      scores: `[B, K]` scores of images with prototypes.
      queue_scores: `[Q, K]` scores of additional images, which share the prototypes but get no codes.
      epsilon: Entropy weight, above 0; larger values give more uniform codes.
      iterations: Number of iterations, at least 1.
      use_queue: `[]` boolean; False ignores `queue_scores`.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[0.4, 0.3], [0.2, 0.2], [0.3, 0.1]])  # no image prefers the second prototype
    >>> print(sinkhorn_codes(scores, epsilon=0.05, iterations=3).round(2))
    [[0.5  0.5 ]
     [0.12 0.88]
     [0.88 0.12]]
    """
    blocks = [scores] if queue_scores is None else [scores, queue_scores]
    logits = [jax.lax.stop_gradient(block).astype(jnp.float32) / epsilon for block in blocks]
    image_logs = [jnp.zeros((len(block), 1)) for block in blocks]
    for _ in range(iterations):
        sums = [
            jax.nn.logsumexp(x - image_log, axis=0, keepdims=True)
            for x, image_log in zip(logits, image_logs, strict=True)
        ]
        prototype_log = sums[0]
        if queue_scores is not None:
            prototype_log = jnp.where(use_queue, jnp.logaddexp(*sums), sums[0])
        image_logs = [jax.nn.logsumexp(x - prototype_log, axis=1, keepdims=True) for x in logits]
    return jnp.exp(logits[0] - prototype_log - image_logs[0])
