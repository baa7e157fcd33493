"""From an encoded image to the views of a recipe, and to the evaluation crop."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from barlow_jax.config.recipe import View
from barlow_jax.data import host_ops
from barlow_jax.data.padded_images import CANVAS, SHAPE, shelves

# Uniforms that each op may use, its probability's included.
_UNIFORMS = 32


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG, PNG, GIF, WebP or BMP bytes to `[height, width, 3]` uint8 levels, bit for bit as PIL has them.

    As by PIL's `convert("RGB")`: CMYK and palettes become colours, alpha is dropped, 16 bits are cut to the
    upper 8 (of grey too, where PIL saturates), an animation is its first image, and what EXIF says of the
    orientation is not followed, as torchvision's folders do not.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are something else, or end early; no part of an image is
        made up (`try_recover_truncated`). PIL refuses the same ones.
    """

    def jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

    def other() -> tf.Tensor:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    return tf.ensure_shape(image, [None, None, 3])


def make_view(image: tf.Tensor, view: View, size: int, seed: tf.Tensor) -> tf.Tensor:
    """`[size, size, 3]` uint8; `normalize` is always the accelerator's.

    Args:
      image: `[height, width, 3]` uint8 levels.
      view: the ops and their order.
      size: pixels a side, where its crop has no other.
      seed: `[2]` int64; the same seed gives the same view.
    """
    size = view.output_size(size)
    for name, u in draw(view, seed).items():
        if name == "crop":  # takes levels as they were decoded, a quarter of the bytes
            image = host_ops.crop(image, u, view.crop, size)
        elif name != "normalize":
            image = tf.cast(image, tf.float32)
            image = _maybe(getattr(host_ops, name), image, u, getattr(view, name))
    return tf.ensure_shape(tf.cast(image, tf.uint8), [size, size, 3])


def on_canvas(
    image: tf.Tensor, views: Mapping[str, View], size: int, side: int, seeds: Sequence[tf.Tensor]
) -> dict[str, tf.Tensor]:
    """A decoded image as the accelerator takes it (`barlow_jax.data.padded_images`): whole, or larger than the canvas, as crops.

    Args:
      image: `[height, width, 3]` uint8 levels.
      views: by name, in the order of the names.
      size: pixels a side of a view whose crop has no other.
      side: pixels a side of the canvas.
      seeds: `[2]` int64 of each view; only for what is cropped here.
    """
    shape = tf.shape(image)[:2]
    sizes = [view.output_size(size) for view in views.values()]
    places = shelves(sizes, side)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        return pad(image, 0, 0, side), shape

    def cropped() -> tuple[tf.Tensor, tf.Tensor]:
        if places is None:
            crops = f"{len(views)} crops of {', '.join(map(str, dict.fromkeys(sizes)))}"
            refused = f"is larger than config.data.canvas={side}, which has no room for {crops}"
            with tf.control_dependencies([tf.debugging.Assert(False, [f"{refused}: set a larger one"])]):
                return tf.zeros([side, side, 3], tf.uint8), tf.zeros_like(shape)
        crops = [
            make_view(image, View(crop=view.crop, order=("crop",)), size, seed)
            for view, seed in zip(views.values(), seeds, strict=True)
        ]
        parts = [pad(part, *place, side) for part, place in zip(crops, places, strict=True)]
        return tf.add_n(parts), tf.zeros_like(shape)

    canvas, shape = tf.cond(tf.reduce_all(shape <= side), whole, cropped)
    return {CANVAS: canvas, SHAPE: tf.ensure_shape(shape, [2])}


def pad(image: tf.Tensor, top: int, left: int, side: int) -> tf.Tensor:
    """`[side, side, 3]` uint8: the image at a place of a black canvas."""
    height, width = tf.unstack(tf.shape(image)[:2])
    lines = tf.reshape(image, (height, 3 * width))  # one copy a line, not one a pixel
    wide = tf.pad(lines, [[top, side - top - height], [3 * left, 3 * (side - left - width)]])
    return tf.ensure_shape(tf.reshape(wide, (side, side, 3)), [side, side, 3])


def draw(view: View, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """All the randomness of a view: uniforms `[32]` for each op, in the view's order.

    The first one says whether the op is applied (`is_applied`), the others are the op's own; the crop,
    which always is, has all of them.
    """
    draws = tf.random.stateless_uniform((len(view.order), _UNIFORMS), seed)
    return dict(zip(view.order, tf.unstack(draws), strict=True))


def is_applied(u: tf.Tensor, op) -> tf.Tensor:
    """A boolean, true with the op's probability."""
    return u[0] < op.probability


def _maybe(apply: Callable, image: tf.Tensor, u: tf.Tensor, op) -> tf.Tensor:
    """The op with its probability; no op at all where that is 0."""
    if op.probability == 0:
        return image
    if op.probability == 1:
        return apply(image, u[1:], op)
    return tf.cond(is_applied(u, op), lambda: apply(image, u[1:], op), lambda: image)


def evaluation_crop(image: tf.Tensor, *, resize: int, size: int) -> tf.Tensor:
    """Shorter side to `resize` (bilinear, antialiased), then the central `[size, size, 3]`, uint8."""
    image, shape = tf.cast(image, tf.float32), tf.shape(image)[:2]
    shorter = tf.reduce_min(shape)
    image = tf.cond(
        shorter == resize,
        lambda: image,
        lambda: host_ops.resize(image, shape * resize // shorter, "bilinear"),
    )
    # Half a pixel too many goes to the even side, as Python (and so torchvision) rounds.
    top, left = tf.unstack(tf.cast(tf.round((tf.shape(image)[:2] - size) / 2), tf.int32))
    part = tf.slice(image, (top, left, 0), (size, size, 3))
    return tf.ensure_shape(tf.cast(part, tf.uint8), [size, size, 3])
