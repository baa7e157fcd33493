"""Views on the accelerator: augments decoded images within the step and normalizes them for the network.

Images are `[height, width, C]`, uint8 pixel values 0..255 or float32 values in 0..1; normalized images are
float32.
"""

from collections.abc import Mapping
from functools import partial
import zlib

import jax
import jax.numpy as jnp

from barlow_jax.augment import blur, color, custom, geometry, intensity
from barlow_jax.config.recipe import Normalize, Recipe, View
from barlow_jax.data.op_uniforms import is_applied
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE, pack_crops

# Ops after the crop by name: functions of an image of float32 values, its uniforms, the op's record and the
# largest value: 255 (whole pixel values, which stay whole) or 1.
OP_FUNCTIONS = {
    "rotate": geometry.rotate,
    "flip": geometry.flip,
    "jitter": color.jitter,
    "grayscale": color.grayscale,
    "blur": blur.blur,
    "solarize": color.solarize,
}
# Ops that have a key of their own, sampled only if the order names them: functions of an image of float32
# values in 0..1, a key and the op's record.
KEYED_OP_FUNCTIONS = {
    "vertical_flip": geometry.vertical_flip,
    "quarter_turn": geometry.quarter_turn,
    "brightness": intensity.brightness,
    "contrast": intensity.contrast,
    "gamma": intensity.gamma,
    "noise": intensity.noise,
    "channel_drop": intensity.channel_drop,
    "custom": custom.apply,
}

# Uniforms per op, the one of its probability included. The crop uses most: ten attempts of two, and two more.
_NUM_UNIFORMS = 2 * geometry.CROP_ATTEMPTS + 2


def augment(images: Mapping[str, jax.Array], *, recipe: Recipe, size: int, seed: int) -> dict[str, jax.Array]:
    """Return the augmented views of decoded images.

    Args:
      images: `canvas`, `[B, side, side, C]`, uint8 or float32 in 0..1, `shape`, `[B, 2]` int32, and
        `position`, `[B]` uint32 (`barlow_jax.data.padded_images`). Other entries, such as captions, are
        passed through.
      recipe: Recipe of the views.
      size: Side in pixels of each view whose crop does not define its own.
      seed: The run's seed. An image's augmentation depends only on it, the view and the position.

    Returns:
      `[B, size, size, C]` of each view, of the canvas's dtype.
    """
    views = {name: rows for name, rows in images.items() if name not in (CANVAS, SHAPE, POSITION)}
    ordered = sorted(recipe.views.items())
    sizes = [view.output_size(size) for _, view in ordered]
    corners = pack_crops(sizes, images[CANVAS].shape[1]) or [None] * len(ordered)
    for index, (name, view) in enumerate(ordered):
        u = sample_uniforms(seed, index, images[POSITION])
        keys = sample_keys(seed, index, images[POSITION], view)
        cut = partial(crop, view=view, size=sizes[index], corner=corners[index])
        crops = jax.vmap(cut)(images[CANVAS], images[SHAPE], u["crop"])
        views[name] = jax.vmap(partial(apply_ops, view=view))(crops, randoms=u | keys)
    return views


def crop(
    canvas: jax.Array, shape: jax.Array, u: jax.Array, view: View, size: int, corner: tuple[int, int] | None
) -> jax.Array:
    """Return the view's crop, `[size, size, C]`, of the canvas's dtype.

    If the host has already cropped the image (shape (0, 0)), the crop is read from the canvas at `corner`.
    """
    box = geometry.crop_box(shape, u, view.crop)
    if corner is not None:
        finished = geometry.Box(*(jnp.int32(value) for value in (*corner, size, size)))
        box = jax.tree.map(lambda new, done: jnp.where(shape[0] == 0, done, new), box, finished)
    return geometry.resize(canvas, box, (size, size), view.crop.method)


def apply_ops(image: jax.Array, view: View, randoms: Mapping[str, jax.Array]) -> jax.Array:
    """Apply the ops after the crop to a `[height, width, C]` image, uint8 or float32 in 0..1.

    Each is applied with its probability, by its uniforms or key (`sample_uniforms`, `sample_keys`).
    """
    top = 255.0 if image.dtype == jnp.uint8 else 1.0
    pixels = image.astype(jnp.float32)
    for name in view.order:
        if name in ("crop", "normalize"):  # applied before and after this function
            continue
        op = getattr(view, name)
        if op.probability == 0:
            continue
        if name in OP_FUNCTIONS:
            u = randoms[name]
            applied, changed = is_applied(u, op), OP_FUNCTIONS[name](pixels, u[1:], op, top)
        else:
            applied_key, key = jax.random.split(randoms[name])
            applied = jax.random.bernoulli(applied_key, op.probability)
            changed = KEYED_OP_FUNCTIONS[name](pixels / top, key, op)
            changed = changed if top == 1 else jnp.round(changed * top)
        pixels = jnp.where(applied, changed, pixels)
    return pixels.astype(image.dtype)


def sample_uniforms(seed: int, view_index: int, positions: jax.Array) -> dict[str, jax.Array]:
    """Sample all random numbers of a view at `[B]` positions: `[B, 22]` uniforms in [0, 1) for each op.

    The first uniform decides whether the op is applied (`is_applied`), the others are the op's parameters.
    The crop, which is always applied, uses all of them.
    """
    key = jax.random.fold_in(jax.random.key(seed), view_index)
    names = ("crop", *OP_FUNCTIONS)
    shape = (len(names), _NUM_UNIFORMS)
    u = jax.vmap(lambda position: jax.random.uniform(jax.random.fold_in(key, position), shape))(positions)
    return {name: u[:, row] for row, name in enumerate(names)}


def sample_keys(seed: int, view_index: int, positions: jax.Array, view: View) -> dict[str, jax.Array]:
    """Return `[B]` keys of each op of KEYED_OP_FUNCTIONS that the view's order names, at `[B]` positions."""
    key = jax.random.fold_in(jax.random.key(seed), view_index)
    keys = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
    # By the op's name, so that other ops do not change its random numbers.
    return {
        name: jax.vmap(lambda key, name=name: jax.random.fold_in(key, zlib.crc32(name.encode())))(keys)
        for name in view.order
        if name in KEYED_OP_FUNCTIONS
    }


def normalize(images: jax.Array, op: Normalize) -> jax.Array:
    """Return `[..., C]` images as float32, normalized by the recipe's mean and std.

    uint8 pixel values are divided by 255 first; float32 values are taken as they are.
    """
    shape = (1,) * (images.ndim - 1) + (-1,)
    mean, std = jnp.asarray(op.mean).reshape(shape), jnp.asarray(op.std).reshape(shape)
    values = images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images
    return (values - mean) / std


def normalize_views(views: Mapping[str, jax.Array], recipe: Recipe) -> dict[str, jax.Array]:
    """Normalize each image view by its row of the recipe, or view a's; captions pass through unchanged."""
    as_view = {name: name if name in recipe.views else "a" for name in views}
    return {
        name: normalize(images, recipe.views[as_view[name]].normalize) if images.ndim == 4 else images
        for name, images in views.items()
    }


def reduce_views(views: Mapping[str, jax.Array], scale: float) -> dict[str, jax.Array]:
    """Multiply the sides of each image view by `scale`, from 0 to 1; captions pass through unchanged.

    The images are float32; the interpolation is bilinear and antialiased.
    """

    def reduce(images: jax.Array) -> jax.Array:
        batch, height, width, channels = images.shape
        return jax.image.resize(
            images, (batch, round(scale * height), round(scale * width), channels), "linear"
        )

    return {name: reduce(images) if images.ndim == 4 else images for name, images in views.items()}
