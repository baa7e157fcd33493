"""The accelerator's part of a View, as a part of the step: from decoded images to what the network sees of them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from barlow_jax.augment import blur, color, geometry
from barlow_jax.config.recipe import Normalize, Recipe, View
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE, pack_crops
from barlow_jax.data.resize import Box, resize

# Of levels to levels; the crop, which goes from a canvas to them, comes before.
INTERPRETERS = {
    "rotate": geometry.rotate,
    "flip": geometry.flip,
    "jitter": color.jitter,
    "grayscale": color.grayscale,
    "blur": blur.blur,
    "solarize": color.solarize,
}

# Uniforms that each op may use, its probability's included: the crop has ten attempts of two, and two more.
_UNIFORMS = 2 * geometry.CROP_ATTEMPTS + 2


def augment(images: Mapping[str, jax.Array], *, recipe: Recipe, size: int, seed: int) -> dict[str, jax.Array]:
    """The views of decoded images.

    Args:
      images: `canvas`, `[B, side, side, 3]` uint8 levels, `shape`, `[B, 2]` int32, and `position`, `[B]` uint32
        (`barlow_jax.data.padded_images`); others, such as captions, are handed on.
      recipe: of the views.
      size: pixels a side of each whose crop has no other.
      seed: of the run. An image's draws depend on it, the view and the position alone.

    Returns:
      Each view's `[B, size, size, 3]` uint8 levels.
    """
    made = {name: rows for name, rows in images.items() if name not in (CANVAS, SHAPE, POSITION)}
    names = sorted(recipe.views)
    sizes = [recipe.views[name].output_size(size) for name in names]
    places = pack_crops(sizes, images[CANVAS].shape[1]) or [None] * len(names)
    for number, name in enumerate(names):

        def one(canvas, shape, u, view=recipe.views[name], size=sizes[number], place=places[number]):
            return make_view(crop(canvas, shape, u["crop"], view, size, place), view, u)

        draws = draw(seed, number, images[POSITION])
        made[name] = jax.vmap(one)(images[CANVAS], images[SHAPE], draws)
    return made


def crop(
    canvas: jax.Array, shape: jax.Array, u: jax.Array, view: View, size: int, place: tuple[int, int] | None
) -> jax.Array:
    """The view's crop, `[size, size, 3]` uint8: of the image, or as the host left it at `place`."""
    box = geometry.crop_box(shape, u, view.crop)
    if place is not None:
        finished = Box(*(jnp.int32(value) for value in (*place, size, size)))
        box = jax.tree.map(lambda ours, theirs: jnp.where(shape[0] == 0, theirs, ours), box, finished)
    return resize(canvas, box, (size, size), view.crop.method)


def make_view(image: jax.Array, view: View, draws: Mapping[str, jax.Array]) -> jax.Array:
    """The ops after the crop on one `[height, width, 3]` uint8 image, each with its probability, in the view's order."""
    levels = image.astype(jnp.float32)
    for name in view.order:
        if name in ("crop", "normalize"):  # before and after this
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
    """All the randomness of view `number` at `[B]` positions: uniforms `[B, 22]` in [0, 1) for each op.

    The first one says whether the op is applied (`is_applied`), the others are the op's own; the crop,
    which always is, has all of them.
    """
    key = jax.random.fold_in(jax.random.key(seed), number)
    names = ("crop", *INTERPRETERS)
    shape = (len(names), _UNIFORMS)
    draws = jax.vmap(lambda position: jax.random.uniform(jax.random.fold_in(key, position), shape))(positions)
    return {name: draws[:, place] for place, name in enumerate(names)}


def is_applied(u: jax.Array, op) -> jax.Array:
    """A boolean, true with the op's probability."""
    return u[0] < op.probability


def normalize(images: jax.Array, op: Normalize) -> jax.Array:
    """`[..., 3]` uint8 levels to float32 with the recipe's mean and deviation."""
    mean, std = jnp.asarray(op.mean), jnp.asarray(op.std)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


def normalize_views(views: Mapping[str, jax.Array], recipe: Recipe) -> dict[str, jax.Array]:
    """What the network sees: each image of a batch by its own row of the recipe, float32; captions as they are."""
    return {
        name: normalize(rows, recipe.views[name].normalize) if name in recipe.views else rows
        for name, rows in views.items()
    }
