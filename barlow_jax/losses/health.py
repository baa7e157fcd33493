"""Whether embeddings still differ from image to image, as every method reports it.

    deviation_i = sqrt(mean_b (z_bi - mean_b z_bi)^2)      of each feature, in each view
    spread      = mean_i deviation_i / sqrt(mean_bi z_bi^2)

The spread is 1 where embeddings lie around the origin (up to what their deviations differ), 0 where all are one
vector: figure 2 of SimSiam (Chen and He 2021) but for the factor sqrt(D), and one length for all rows. Where the loss
reads directions alone, lengths differ freely, also those of embeddings that all point one way: then, as in that figure,
each row is taken at length 1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from barlow_jax.losses.sphere import unit_rows

_TINY = 1e-37  # just above where float32 ends; what lies below counts as 0


def spread(embeddings: Sequence[jax.Array], *, directions: bool = False) -> dict[str, jax.Array]:
    """The metrics of embeddings `[B, D]` of one or more views, of any float dtype; none has a gradient.

    Right for all finite values: squares are taken of what has been divided by about the largest of its view.

    Args:
      embeddings: of each view.
      directions: the spread is that of the rows at length 1.

    Returns:
      Float32 scalars: `embedding_std_min`, the smallest deviation of a feature in a view; `embedding_std_mean`; and
      `embedding_spread`, which is 0 where all embeddings are 0.

    >>> import jax.numpy as jnp
    >>> around = jnp.array([[3.0, 1.0], [-3.0, -1.0]])
    >>> print({name: round(float(value), 3) for name, value in spread([around, around + 9]).items()})
    {'embedding_std_min': 1.0, 'embedding_std_mean': 2.0, 'embedding_spread': 0.296}
    >>> ray = jnp.array([[3.0, 4.0], [6.0, 8.0]])
    >>> print([f"{spread([ray], directions=d)['embedding_spread']:.3f}" for d in (False, True)])
    ['0.313', '0.000']
    """
    scales, deviations, squares = zip(*(_of_view(z) for z in embeddings), strict=True)
    scales, deviations, squares = jnp.stack(scales), jnp.stack(deviations), jnp.stack(squares)
    largest = jnp.max(scales)
    shares = scales / largest  # one view may be far smaller than another
    mean = jnp.mean(shares * jnp.mean(deviations, axis=1))
    length = jnp.sqrt(jnp.mean(jnp.square(shares) * squares))
    metrics = {
        "embedding_std_min": jnp.min(scales * jnp.min(deviations, axis=1)),
        "embedding_std_mean": mean * largest,
        "embedding_spread": mean / jnp.maximum(length, _TINY),
    }
    if directions:
        units = [unit_rows(jax.lax.stop_gradient(z)) for z in embeddings]
        metrics["embedding_spread"] = spread(units)["embedding_spread"]
    return metrics


def _of_view(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """About the largest value; the deviations `[D]` and the mean square, of values that are divided by it."""
    z = jax.lax.stop_gradient(z).astype(jnp.float32)
    _, exponent = jnp.frexp(jnp.maximum(jnp.max(jnp.abs(z)), _TINY))
    scale = jnp.ldexp(jnp.float32(1), exponent - 1)  # a power of two changes no digit
    z = z / scale
    # The mean of B equal numbers is off by its rounding; no deviation depends on a shift.
    centred = z - z[:1]
    centred -= jnp.mean(centred, axis=0)
    return scale, jnp.sqrt(jnp.mean(jnp.square(centred), axis=0)), jnp.mean(jnp.square(z))
