"""The accelerator's part of a View: the color ops on uint8 levels, and what the network sees of them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from barlow_jax.augment import blur, color
from barlow_jax.recipe import GEOMETRIC, Normalize, Recipe, View

INTERPRETERS = {
    "jitter": color.jitter,
    "grayscale": color.grayscale,
    "blur": blur.blur,
    "solarize": color.solarize,
}

# Uniforms that each op may use: whether it is applied, four strengths and an order of four.
_UNIFORMS = 9


def augment(
    views: Mapping[str, jax.Array], positions: jax.Array, *, recipe: Recipe, seed: int
) -> dict[str, jax.Array]:
    """The color ops of each view, after the host's geometric ones.

    Args:
      views: each `[B, height, width, 3]` uint8 levels; so is what comes out.
      positions: `[B]` uint32, global positions of the images (`order.Order.batch`).
      recipe: a View for each name.
      seed: of the run. An image's draws depend on it, the view and the position alone.
    """
    made = {}
    for number, name in enumerate(sorted(recipe.views)):
        view, images = recipe.views[name], views[name]
        draws = draw(seed, number, positions)
        made[name] = jax.vmap(lambda image, u, view=view: make_view(image, view, u))(images, draws)
    return made


def make_view(image: jax.Array, view: View, draws: Mapping[str, jax.Array]) -> jax.Array:
    """The color ops of one `[height, width, 3]` uint8 image, each with its probability, in the view's order."""
    levels = image.astype(jnp.float32)
    for name in view.order:
        if name in GEOMETRIC or name == "normalize":  # before and after this
            continue
        if name not in INTERPRETERS:
            raise ValueError(f"the accelerator has no interpreter of {name}: augment on the host")
        op = getattr(view, name)
        if op.probability == 0:
            continue
        u = draws[name]
        applied = INTERPRETERS[name](levels, u[1:], op)
        levels = jnp.where(is_applied(u, op), applied, levels)
    return levels.astype(jnp.uint8)


def draw(seed: int, number: int, positions: jax.Array) -> dict[str, jax.Array]:
    """All the randomness of view `number` at `[B]` positions: uniforms `[B, 9]` in [0, 1) for each color op.

    The first one says whether the op is applied (`is_applied`), the others are the op's own.
    """
    key = jax.random.fold_in(jax.random.key(seed), number)
    shape = (len(INTERPRETERS), _UNIFORMS)
    draws = jax.vmap(lambda position: jax.random.uniform(jax.random.fold_in(key, position), shape))(positions)
    return {name: draws[:, place] for place, name in enumerate(INTERPRETERS)}


def is_applied(u: jax.Array, op) -> jax.Array:
    """A boolean, true with the op's probability."""
    return u[0] < op.probability


def normalize(images: jax.Array, op: Normalize) -> jax.Array:
    """`[..., 3]` uint8 levels to float32 with the recipe's mean and deviation."""
    mean, std = jnp.asarray(op.mean), jnp.asarray(op.std)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


def normalize_views(views: Mapping[str, jax.Array], recipe: Recipe) -> dict[str, jax.Array]:
    """What the network sees: each view of a batch by its own row of the recipe, float32."""
    return {name: normalize(images, recipe.views[name].normalize) for name, images in views.items()}
