"""uint8 levels to what the network sees."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from barlow_jax.recipe import Normalize, Recipe


def normalize(images: jax.Array, op: Normalize) -> jax.Array:
    """`[..., 3]` uint8 levels to float32 with the recipe's mean and deviation."""
    mean, std = jnp.asarray(op.mean), jnp.asarray(op.std)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


def augment(views: Mapping[str, jax.Array], recipe: Recipe) -> dict[str, jax.Array]:
    """Finishes each view of a batch, `[B, height, width, 3]`, after the host's ops."""
    return {name: normalize(images, recipe.views[name].normalize) for name, images in views.items()}
