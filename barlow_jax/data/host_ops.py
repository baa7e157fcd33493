"""The host interpreter of a View: each op in TensorFlow, with PIL's definitions; the reference.

Images are `[height, width, 3]` float32 that hold whole uint8 levels, 0..255, after every op. An op is a
function of the image and of a few uniforms in [0, 1): the randomness is the caller's, and an op with
the same uniforms does the same. Rounding follows PIL: blends truncate, L rounds to nearest.
"""

import math

import tensorflow as tf

from barlow_jax import recipe

CROP_ATTEMPTS = 10


def crop(image: tf.Tensor, u: tf.Tensor, op: recipe.Crop, size: int) -> tf.Tensor:
    """RandomResizedCrop to `[size, size, 3]`."""
    top, left, height, width = crop_box(tf.shape(image), u, op)
    part = tf.slice(image, (top, left, 0), (height, width, 3))
    return resize(part, (size, size), op.method)


def crop_box(shape: tf.Tensor, u: tf.Tensor, op: recipe.Crop) -> tuple[tf.Tensor, ...]:
    """(top, left, height, width): the first of 10 draws that fits, else the largest central one."""
    rows, columns = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    tries = tf.reshape(u[: 2 * CROP_ATTEMPTS], (CROP_ATTEMPTS, 2))
    area = rows * columns * _between(tries[:, 0], op.min_area, op.max_area)
    aspect = tf.exp(_between(tries[:, 1], math.log(op.min_aspect), math.log(op.max_aspect)))
    widths, heights = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)
    first = tf.argmax(tf.cast(fits, tf.int32))
    found = tf.reduce_any(fits)
    # The fallback keeps the aspect ratio within its bounds and takes all that it can.
    height = tf.where(found, heights[first], tf.minimum(rows, tf.round(columns / op.min_aspect)))
    width = tf.where(found, widths[first], tf.minimum(columns, tf.round(rows * op.max_aspect)))
    top = tf.where(found, tf.floor(u[-2] * (rows - height + 1)), tf.floor((rows - height) / 2))
    left = tf.where(found, tf.floor(u[-1] * (columns - width + 1)), tf.floor((columns - width) / 2))
    return tuple(tf.cast(value, tf.int32) for value in (top, left, height, width))


def resize(image: tf.Tensor, shape: tuple, method: str) -> tf.Tensor:
    """Antialiased resize, rounded to levels."""
    resized = tf.image.resize(image, shape, method, antialias=True)
    return tf.clip_by_value(tf.round(resized), 0.0, 255.0)


def rotate(image: tf.Tensor, u: tf.Tensor, op: recipe.Rotate) -> tf.Tensor:
    """Rotation about the centre; bilinear, black outside."""
    angle = _between(u[0], -op.max_degrees, op.max_degrees) * (math.pi / 180)
    size = tf.shape(image)[:2]
    center = tf.cast(size - 1, tf.float32) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    row, column = center[0], center[1]
    # The eight numbers of an output-to-input map (x, y): x' = a x + b y + c, y' = d x + e y + f.
    transform = tf.stack([
        cos, -sin, column - cos * column + sin * row,
        sin, cos, row - sin * column - cos * row, 0.0, 0.0,
    ])  # fmt: skip
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.round(rotated[0])


def flip(image: tf.Tensor, u: tf.Tensor, op: recipe.Flip) -> tf.Tensor:
    del u, op
    return tf.reverse(image, axis=[1])


def jitter(image: tf.Tensor, u: tf.Tensor, op: recipe.Jitter) -> tf.Tensor:
    """Brightness, contrast, saturation and hue in random order."""
    parts = [
        lambda x: blend(tf.zeros_like(x), x, _factor(u[0], op.brightness)),
        lambda x: blend(tf.floor(tf.reduce_mean(luma(x)) + 0.5), x, _factor(u[1], op.contrast)),
        lambda x: blend(luma(x), x, _factor(u[2], op.saturation)),
        lambda x: shift_hue(x, _between(u[3], -op.hue, op.hue)),
    ]
    strengths = (op.brightness, op.contrast, op.saturation, op.hue)
    parts = [part for part, strength in zip(parts, strengths, strict=True) if strength > 0]
    order = tf.argsort(u[4 : 4 + len(parts)])
    for place in range(len(parts)):
        image = tf.switch_case(order[place], [lambda x=image, part=part: part(x) for part in parts])
    return image


def blend(start: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """PIL's blend: start + factor (image - start), truncated and clipped."""
    return tf.clip_by_value(tf.floor(start + factor * (image - start)), 0.0, 255.0)


def luma(image: tf.Tensor) -> tf.Tensor:
    """PIL's L, `[height, width, 1]`: ITU-R 601 in 16-bit fixed point, rounded."""
    weights = tf.constant([[19595], [38470], [7471]], tf.int32)
    products = tf.reduce_sum(tf.cast(image, tf.int32) * weights[:, 0], axis=-1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(products + 32768, 16), tf.float32)


def shift_hue(image: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Adds to H in PIL's 8-bit HSV, where 256 levels are one turn."""
    value, least = tf.reduce_max(image, -1), tf.reduce_min(image, -1)
    spread = value - least
    red, green, blue = tf.unstack(image, axis=-1)
    safe = tf.where(spread == 0, 1.0, spread)
    sector = tf.where(
        red == value,
        (green - blue) / safe,
        tf.where(green == value, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    hue = tf.where(spread == 0, 0.0, tf.floor(tf.math.floormod(sector / 6.0 + 1.0, 1.0) * 255.0))
    saturation = tf.where(spread == 0, 0.0, tf.floor(spread / tf.maximum(value, 1.0) * 255.0))
    # The shift is cut to a whole level towards zero, then wraps.
    hue = tf.math.floormod(hue + tf.cast(tf.cast(turns * 255.0, tf.int32), tf.float32), 256.0)
    position = hue * 6.0 / 255.0
    base = tf.floor(position)
    fraction, saturation = position - base, saturation / 255.0
    low = tf.floor(value * (1.0 - saturation) + 0.5)
    falling = tf.floor(value * (1.0 - saturation * fraction) + 0.5)
    rising = tf.floor(value * (1.0 - saturation * (1.0 - fraction)) + 0.5)
    case = tf.cast(tf.math.floormod(base, 6.0), tf.int32)
    levels = tf.stack([value, low, falling, rising], axis=-1)
    # Which of them is red, green and blue in each of the six sectors of the hue circle.
    table = tf.constant([[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]])
    return tf.gather(levels, tf.gather(table, case), axis=-1, batch_dims=2)


def grayscale(image: tf.Tensor, u: tf.Tensor, op: recipe.Grayscale) -> tf.Tensor:
    del u, op
    return tf.repeat(luma(image), 3, axis=-1)


def blur(image: tf.Tensor, u: tf.Tensor, op: recipe.Blur) -> tf.Tensor:
    """PIL's GaussianBlur: three extended box passes an axis, here as one kernel an axis.

    PIL rounds after each pass and repeats the border each time; the one kernel is within 3 levels.
    """
    kernel = blur_kernel(_between(u[0], op.min_sigma, op.max_sigma), op.max_sigma)
    reach = kernel.shape[0] // 2
    x = tf.transpose(image, (2, 0, 1))[..., tf.newaxis]  # channels as a batch: [3, height, width, 1]
    for axis, shape in ((1, (-1, 1, 1, 1)), (2, (1, -1, 1, 1))):
        length = tf.shape(x)[axis]
        places = tf.clip_by_value(tf.range(-reach, length + reach), 0, length - 1)
        x = tf.nn.conv2d(tf.gather(x, places, axis=axis), tf.reshape(kernel, shape), 1, "VALID")
        x = tf.floor(x + 0.5)
    return tf.transpose(x[..., 0], (1, 2, 0))


def blur_kernel(sigma: tf.Tensor, max_sigma: float) -> tf.Tensor:
    """The weights `[2 r + 1]` of three box passes with variance sigma^2 / 3 each (Gwosdek et al. 2011)."""
    box_reach = int(_box_radius(max_sigma)) + 1
    radius = (tf.sqrt(4.0 * tf.square(sigma) + 1.0) - 1.0) / 2.0
    whole = tf.floor(radius)
    # PIL's edge weight: the variance of the box with fractional ends is exactly sigma^2 / 3.
    edge = ((2 * whole + 1) * (whole * (whole + 1) - tf.square(sigma))) / (
        6.0 * (tf.square(sigma) / 3.0 - tf.square(whole + 1))
    )
    places = tf.abs(tf.range(-box_reach, box_reach + 1, dtype=tf.float32))
    box = tf.where(places <= whole, 1.0, tf.where(places <= whole + 1, edge, 0.0))
    box /= tf.reduce_sum(box)
    kernel = box
    for _ in range(2):
        wide = tf.pad(kernel, [[2 * box_reach, 2 * box_reach]])
        kernel = tf.reshape(
            tf.nn.conv1d(tf.reshape(wide, (1, -1, 1)), tf.reshape(box, (-1, 1, 1)), 1, "VALID"), [-1]
        )
    return tf.ensure_shape(kernel, [6 * box_reach + 1])


def _box_radius(sigma: float) -> float:
    return (math.sqrt(4.0 * sigma**2 + 1.0) - 1.0) / 2.0


def solarize(image: tf.Tensor, u: tf.Tensor, op: recipe.Solarize) -> tf.Tensor:
    """Levels from the threshold up are inverted."""
    del u
    return tf.where(image < op.threshold, image, 255.0 - image)


def _between(u: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + u * (high - low)


def _factor(u: tf.Tensor, strength: float) -> tf.Tensor:
    return _between(u, max(0.0, 1.0 - strength), 1.0 + strength)
