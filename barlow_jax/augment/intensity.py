"""Intensity ops for any number of channels.

Images are `[height, width, C]` float32 values in 0..1. An op is a function of one image, a key and its
record.
"""

import math

import jax
import jax.numpy as jnp

from barlow_jax.config import recipe


def brightness(image: jax.Array, key: jax.Array, op: recipe.Intensity) -> jax.Array:
    """Multiply by the factor."""
    return jnp.clip(factors(key, op, image.shape[-1]) * image, 0.0, 1.0)


def contrast(image: jax.Array, key: jax.Array, op: recipe.Intensity) -> jax.Array:
    """Multiply the distances from the mean by the factor."""
    mean = jnp.mean(image, axis=(0, 1) if op.per_channel else None, keepdims=True)
    return jnp.clip(mean + factors(key, op, image.shape[-1]) * (image - mean), 0.0, 1.0)


def gamma(image: jax.Array, key: jax.Array, op: recipe.Intensity) -> jax.Array:
    """Raise to the power of the factor."""
    largest = math.log1p(op.strength)
    shape = (1, 1, image.shape[-1] if op.per_channel else 1)
    return image ** jnp.exp(jax.random.uniform(key, shape, minval=-largest, maxval=largest))


def factors(key: jax.Array, op: recipe.Intensity, channels: int) -> jax.Array:
    """Return `[1, 1, channels]`, or `[1, 1, 1]` for all, factors of U(max(0, 1 - strength), 1 + strength)."""
    shape = (1, 1, channels if op.per_channel else 1)
    return jax.random.uniform(key, shape, minval=max(0.0, 1.0 - op.strength), maxval=1.0 + op.strength)


def noise(image: jax.Array, key: jax.Array, op: recipe.Noise) -> jax.Array:
    """Add Gaussian noise, and clip."""
    std_key, noise_key = jax.random.split(key)
    std = jax.random.uniform(std_key, maxval=op.max_std)
    return jnp.clip(image + std * jax.random.normal(noise_key, image.shape), 0.0, 1.0)


def channel_drop(image: jax.Array, key: jax.Array, op: recipe.ChannelDrop) -> jax.Array:
    """Set `op.count` channels to 0."""
    return image * (jax.random.permutation(key, image.shape[-1]) >= op.count)[None, None]
