"""Centring and standardization of embeddings over the batch, exact for constant features.

z_hat = (z - mean) / sqrt(var + eps)       per feature, biased variance, as in BatchNorm
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Float32 squares overflow at 1e19, and the gradient of 1 / sqrt(variance), a third power, at 1e12. Scaling by
# a power of two raises both limits and changes no digit.
SCALE = 2.0**-24


def check_views(embeddings: Sequence[jax.Array]) -> None:
    """Raise ValueError unless these are the `[N, D]` embeddings, of one shape, of two or more views."""
    shapes = [z.shape for z in embeddings]
    if len(shapes) < 2 or len(shapes[0]) != 2 or len(set(shapes)) > 1:
        found = " and ".join(map(str, shapes))
        raise ValueError(f"embeddings must be two or more [N, D] arrays of one shape, got {found}")


def center(z: jax.Array) -> jax.Array:
    """Return `[..., N, D]` float32 embeddings minus their mean over N; a constant feature becomes exactly 0.

    The float32 mean of N equal numbers is off by its rounding error; subtracting the first row before taking
    the mean avoids this and changes nothing else.
    """
    return _subtract_mean(z - jax.lax.stop_gradient(z[..., :1, :]))


def standardize(z: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Return `[N, D]` embeddings with mean 0 and biased variance 1 over the batch, in float32.

    A constant feature becomes exactly 0. Finite input gives finite values and gradients. They are correct up
    to |z| = 1e19. Where even the scaled squares overflow, the feature becomes 0.
    """
    centered, variance = _scaled_moments(z)
    return centered * jax.lax.rsqrt(variance + epsilon * SCALE**2)[None]


def feature_std(z: jax.Array) -> jax.Array:
    """Return the `[D]` biased standard deviations of `[N, D]` embeddings; infinite where squares overflow."""
    return jnp.sqrt(_scaled_moments(z)[1]) / SCALE


def _scaled_moments(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the centered embeddings and their variance, of embeddings multiplied by SCALE."""
    # Like `center`, with the first row sliced before it is scaled.
    first = jax.lax.stop_gradient(z[:1].astype(jnp.float32) * SCALE)
    centered = _subtract_mean(z.astype(jnp.float32) * SCALE - first)
    return centered, jnp.mean(jnp.square(centered), axis=0)


def _subtract_mean(z: jax.Array) -> jax.Array:
    return z - jnp.mean(z, axis=-2, keepdims=True)
