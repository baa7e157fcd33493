"""Views of a decoded image on the host, in TensorFlow: the recipe's, padded images, and the evaluation crop.

Images are `[height, width, 3]` uint8 pixel values.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from barlow_jax.config.recipe import View
from barlow_jax.data import host_ops
from barlow_jax.data.op_uniforms import is_applied
from barlow_jax.data.padded_images import CANVAS, SHAPE, pack_crops

_NUM_UNIFORMS = 32  # per op, including the one for its probability


def make_view(image: tf.Tensor, view: View, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Apply the ops of a view, except `normalize`, which always runs on the accelerator.

    The image is `[height, width, 3]` uint8, the result `[size, size, 3]`, or of the crop's own size if it has
    one. The same seed, `[2]` int64, gives the same view.
    """
    size = view.output_size(size)
    for name, u in draw(view, seed).items():
        if name == "crop":  # reads the uint8 image, a quarter of the bytes of float32
            image = host_ops.crop(image, u, view.crop, size)
        elif name != "normalize":
            image = tf.cast(image, tf.float32)
            image = _maybe(getattr(host_ops, name), image, u, getattr(view, name))
    return tf.ensure_shape(tf.cast(image, tf.uint8), [size, size, 3])


def pad_or_crop(
    image: tf.Tensor, views: Mapping[str, View], size: int, side: int, seeds: Sequence[tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Put a decoded image on a canvas (`barlow_jax.data.padded_images`): whole, or as crops if it is larger.

    Args:
      image: `[height, width, 3]` uint8.
      views: by name, sorted.
      size: pixels a side of a crop, unless the view's crop has its own size.
      side: pixels a side of the canvas.
      seeds: `[2]` int64 for each view; used only if the image is cropped here.
    """
    shape = tf.shape(image)[:2]
    sizes = [view.output_size(size) for view in views.values()]
    corners = pack_crops(sizes, side)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        return pad(image, 0, 0, side), shape

    def cropped() -> tuple[tf.Tensor, tf.Tensor]:
        if corners is None:
            crops = f"{len(views)} crops of {', '.join(map(str, dict.fromkeys(sizes)))}"
            message = f"is larger than config.data.canvas={side}, which has no room for {crops}"
            with tf.control_dependencies([tf.debugging.Assert(False, [f"{message}: set a larger one"])]):
                return tf.zeros([side, side, 3], tf.uint8), tf.zeros_like(shape)
        crops = [
            make_view(image, View(crop=view.crop, order=("crop",)), size, seed)
            for view, seed in zip(views.values(), seeds, strict=True)
        ]
        parts = [pad(part, *corner, side) for part, corner in zip(crops, corners, strict=True)]
        return tf.add_n(parts), tf.zeros_like(shape)

    canvas, shape = tf.cond(tf.reduce_all(shape <= side), whole, cropped)
    return {CANVAS: canvas, SHAPE: tf.ensure_shape(shape, [2])}


def pad(image: tf.Tensor, top: int, left: int, side: int) -> tf.Tensor:
    """Return a black `[side, side, 3]` uint8 canvas with the image at (top, left)."""
    height, width = tf.unstack(tf.shape(image)[:2])
    lines = tf.reshape(image, (height, 3 * width))  # one copy per line, not per pixel
    wide = tf.pad(lines, [[top, side - top - height], [3 * left, 3 * (side - left - width)]])
    return tf.ensure_shape(tf.reshape(wide, (side, side, 3)), [side, side, 3])


def draw(view: View, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Sample all the randomness of a view: uniforms `[32]` for each op, in the view's order.

    The first uniform decides whether the op is applied (`is_applied`), the others are its arguments. The crop
    is always applied, and uses all of them.
    """
    draws = tf.random.stateless_uniform((len(view.order), _NUM_UNIFORMS), seed)
    return dict(zip(view.order, tf.unstack(draws), strict=True))


def _maybe(apply: Callable, image: tf.Tensor, u: tf.Tensor, op) -> tf.Tensor:
    """Apply the op with its probability; at 0 it is not part of the graph."""
    if op.probability == 0:
        return image
    if op.probability == 1:
        return apply(image, u[1:], op)
    return tf.cond(is_applied(u, op), lambda: apply(image, u[1:], op), lambda: image)


def evaluation_crop(image: tf.Tensor, *, resize_to: int, size: int, method: str = "bilinear") -> tf.Tensor:
    """Resize the shorter side to `resize_to` (antialiased), and return the central crop.

    Returns:
      `[size, size, 3]` uint8.
    """
    image, shape = tf.cast(image, tf.float32), tf.shape(image)[:2]
    shorter = tf.reduce_min(shape)
    image = tf.cond(
        shorter == resize_to,
        lambda: image,
        lambda: host_ops.resize(image, shape * resize_to // shorter, method),
    )
    # Half a pixel too many goes to the even side, as Python (and so torchvision) rounds.
    top, left = tf.unstack(tf.cast(tf.round((tf.shape(image)[:2] - size) / 2), tf.int32))
    part = tf.slice(image, (top, left, 0), (size, size, 3))
    return tf.ensure_shape(tf.cast(part, tf.uint8), [size, size, 3])
