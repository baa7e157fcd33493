"""Training metrics that show whether embeddings still differ from image to image.

    std_i  = sqrt(mean_b (z_bi - mean_b z_bi)^2)      of each feature, in each view
    spread = mean_i std_i / sqrt(mean_bi z_bi^2)

The spread is 1 for embeddings centered on the origin (if all features have about the same std) and 0 if all
embeddings are the same vector. It is figure 2 of SimSiam (Chen and He 2021) without the factor sqrt(D), and
with one length for all rows instead of each row's own. A loss that depends only on directions leaves lengths
free, even those of embeddings that all point the same way. For such losses each row is first scaled to length
1, as in that figure.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from barlow_jax.losses.standardization import SCALE, center, feature_std
from barlow_jax.networks.unit_sphere import unit_rows

_TINY = 1e-37  # just above float32's smallest normal number; smaller values count as 0


def embedding_statistics(
    embeddings: Sequence[jax.Array], *, unit_length: bool = False
) -> dict[str, jax.Array]:
    """Return the metrics of the embeddings of one or more views, without a gradient.

    Correct for all finite values: each view is divided by about its largest value before squares are taken.

    Args:
      embeddings: `[B, D]` of each view, any float dtype.
      unit_length: computes the spread of rows scaled to length 1.

    Returns:
      Float32 scalars: `embedding_std_min`, the smallest std of a feature in any view; `embedding_std_mean`;
      and `embedding_spread`, which is 0 if all embeddings are 0.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[3.0, 1.0], [-3.0, -1.0]])
    >>> print({name: round(float(value), 3) for name, value in embedding_statistics([z, z + 9]).items()})
    {'embedding_std_min': 1.0, 'embedding_std_mean': 2.0, 'embedding_spread': 0.296}
    >>> ray = jnp.array([[3.0, 4.0], [6.0, 8.0]])
    >>> for unit_length in (False, True):
    ...     print(f"{embedding_statistics([ray], unit_length=unit_length)['embedding_spread']:.3f}")
    0.313
    0.000
    """
    by_view = zip(*(_view_statistics(z) for z in embeddings), strict=True)
    scales, stds, squares = (jnp.stack(arrays) for arrays in by_view)
    largest = jnp.max(scales)
    relative = scales / largest  # one view may be far smaller than another
    mean = jnp.mean(relative * jnp.mean(stds, axis=1))
    length = jnp.sqrt(jnp.mean(jnp.square(relative) * squares))
    metrics = {
        "embedding_std_min": jnp.min(scales * jnp.min(stds, axis=1)),
        "embedding_std_mean": mean * largest,
        "embedding_spread": mean / jnp.maximum(length, _TINY),
    }
    if unit_length:
        units = [unit_rows(jax.lax.stop_gradient(z)) for z in embeddings]
        metrics["embedding_spread"] = embedding_statistics(units)["embedding_spread"]
    return metrics


def standardized_embedding_statistics(z_a: jax.Array, z_b: jax.Array) -> dict[str, jax.Array]:
    """Like `embedding_statistics`, from the standard deviations that `standardize` computes anyway.

    The compiler merges both computations, so a standardizing loss pays no extra pass over the embeddings.
    Where squares overflow (|z| from about 3e26) the standard deviations are infinite.
    """
    z_a, z_b = jax.lax.stop_gradient((z_a, z_b))
    stds = jnp.stack([feature_std(z_a), feature_std(z_b)])
    squares = (jnp.mean(jnp.square(z.astype(jnp.float32) * SCALE)) for z in (z_a, z_b))
    scaled_length = jnp.sqrt(sum(squares) / 2)
    return {
        "embedding_std_min": jnp.min(stds),
        "embedding_std_mean": jnp.mean(stds),
        "embedding_spread": jnp.mean(stds) * SCALE / jnp.maximum(scaled_length, 1e-30),
    }


def _view_statistics(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a scale near the largest value, and the `[D]` stds and mean square of the values over it."""
    z = jax.lax.stop_gradient(z).astype(jnp.float32)
    _, exponent = jnp.frexp(jnp.maximum(jnp.max(jnp.abs(z)), _TINY))
    scale = jnp.ldexp(jnp.float32(1), exponent - 1)  # a power of two changes no digit
    z = z / scale
    return scale, jnp.sqrt(jnp.mean(jnp.square(center(z)), axis=0)), jnp.mean(jnp.square(z))
