"""Ops of a View in TensorFlow, for the host, with PIL's definitions; the reference for the accelerator's.

Images are `[height, width, 3]` float32 and hold whole pixel values 0..255 after every op. An op is a
deterministic function of the image and of a few uniforms in [0, 1), which the caller samples. Rounding
follows PIL: blends truncate, L rounds to nearest.
"""

import math

import tensorflow as tf

from barlow_jax.config import recipe
from barlow_jax.data.op_uniforms import blur_sigma, jitter_strengths, rotation, scale_uniform

CROP_ATTEMPTS = 10


def crop(image: tf.Tensor, u: tf.Tensor, op: recipe.Crop, size: int) -> tf.Tensor:
    """Apply RandomResizedCrop to a float32 or uint8 image; returns `[size, size, 3]` float32."""
    top, left, height, width = crop_box(tf.shape(image), u, op)
    part = tf.slice(image, (top, left, 0), (height, width, 3))
    return resize(part, (size, size), op.method)


def crop_box(shape: tf.Tensor, u: tf.Tensor, op: recipe.Crop) -> tuple[tf.Tensor, ...]:
    """Return (top, left, height, width): the first of 10 boxes that fits, else the largest central one."""
    rows, columns = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    tries = tf.reshape(u[: 2 * CROP_ATTEMPTS], (CROP_ATTEMPTS, 2))
    area = rows * columns * scale_uniform(tries[:, 0], op.min_area, op.max_area)
    aspect = tf.exp(scale_uniform(tries[:, 1], math.log(op.min_aspect), math.log(op.max_aspect)))
    widths, heights = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)
    first = tf.argmax(tf.cast(fits, tf.int32))
    any_fits = tf.reduce_any(fits)
    # The fallback is the largest box whose aspect ratio is within the bounds.
    height = tf.where(any_fits, heights[first], tf.minimum(rows, tf.round(columns / op.min_aspect)))
    width = tf.where(any_fits, widths[first], tf.minimum(columns, tf.round(rows * op.max_aspect)))
    top = tf.where(any_fits, tf.floor(u[-2] * (rows - height + 1)), tf.floor((rows - height) / 2))
    left = tf.where(any_fits, tf.floor(u[-1] * (columns - width + 1)), tf.floor((columns - width) / 2))
    return tuple(tf.cast(value, tf.int32) for value in (top, left, height, width))


def resize(image: tf.Tensor, shape: tuple, method: str) -> tf.Tensor:
    """Resize like PIL, antialiased: along the width, then the height, with rounding after each pass."""
    for length in (shape[1], shape[0]):
        image = _resize_rows(tf.transpose(image, (1, 0, 2)), length, method)
    return image


def _resize_rows(image: tf.Tensor, length: tf.Tensor | int, method: str) -> tf.Tensor:
    """Resize `[height, width, 3]` to `[length, width, 3]`."""
    height, width = tf.unstack(tf.shape(image)[:2])
    # A whole row is the channels of one pixel: TensorFlow's inner loop runs over channels, and is several
    # times slower over three of them.
    rows = tf.reshape(image, (1, height, 1, width * 3))
    resized = tf.image.resize(rows, (length, 1), method, antialias=True)
    return tf.clip_by_value(tf.floor(tf.reshape(resized, (length, width, 3)) + 0.5), 0.0, 255.0)


def rotate(image: tf.Tensor, u: tf.Tensor, op: recipe.Rotate) -> tf.Tensor:
    """Rotate about the center; bilinear."""
    angle = rotation(u, op) * (math.pi / 180)
    size = tf.shape(image)[:2]
    center = tf.cast(size - 1, tf.float32) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    row, column = center[0], center[1]
    # The eight coefficients of the map from output to input (x, y): x' = a x + b y + c, y' = d x + e y + f.
    x_row = (cos, -sin, column - cos * column + sin * row)
    y_row = (sin, cos, row - sin * column - cos * row)
    transform = tf.stack([*x_row, *y_row, 0.0, 0.0])
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode={"black": "CONSTANT", "reflect": "REFLECT"}[op.outside],
    )
    return tf.round(rotated[0])


def flip(image: tf.Tensor, u: tf.Tensor, op: recipe.Flip) -> tf.Tensor:
    """Mirror left to right."""
    return tf.reverse(image, axis=[1])


def vertical_flip(image: tf.Tensor, u: tf.Tensor, op: recipe.VerticalFlip) -> tf.Tensor:
    """Mirror top to bottom."""
    return tf.reverse(image, axis=[0])


def quarter_turn(image: tf.Tensor, u: tf.Tensor, op: recipe.QuarterTurn) -> tf.Tensor:
    """Turn by 0 to 3 quarters, counterclockwise."""
    return tf.image.rot90(image, tf.cast(u[0] * 4, tf.int32))


def jitter(image: tf.Tensor, u: tf.Tensor, op: recipe.Jitter) -> tf.Tensor:
    """Change brightness, contrast, saturation and hue in random order."""
    brightness, contrast, saturation, turns = jitter_strengths(u, op)
    parts = {
        "brightness": lambda x: blend(tf.zeros_like(x), x, brightness),
        "contrast": lambda x: blend(tf.floor(tf.reduce_mean(luma(x)) + 0.5), x, contrast),
        "saturation": lambda x: blend(luma(x), x, saturation),
        "hue": lambda x: shift_hue(x, turns),
    }
    parts = [part for name, part in parts.items() if getattr(op, name) > 0]
    order = jitter_order(u, len(parts))
    for number in range(len(parts)):
        image = tf.switch_case(order[number], [lambda x=image, part=part: part(x) for part in parts])
    return image


def jitter_order(u: tf.Tensor, num_parts: int) -> tf.Tensor:
    """Return a uniform random permutation, `[num_parts]` int32: the parts in order of application."""
    return tf.argsort(u[4 : 4 + num_parts])


def blend(start: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend like PIL: start + factor (image - start), truncated and clipped."""
    return tf.clip_by_value(tf.floor(start + factor * (image - start)), 0.0, 255.0)


def luma(image: tf.Tensor) -> tf.Tensor:
    """Return PIL's L, `[height, width, 1]`: ITU-R 601 in 16-bit fixed point, rounded."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    rounded = 19595 * red + 38470 * green + 7471 * blue + 32768
    return tf.cast(tf.bitwise.right_shift(rounded, 16), tf.float32)[..., tf.newaxis]


def shift_hue(image: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Add to H in PIL's 8-bit HSV, where 256 is one turn."""
    red, green, blue = tf.unstack(image, axis=-1)  # TensorFlow is slow along an axis of three
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    safe = tf.where(spread == 0, 1.0, spread)
    # Values are truncated, not rounded, and those of many colors are whole: float64 and float32 are used
    # where Pillow uses them, or such a value would be 1 too small.
    red, green, blue = (tf.cast((value - channel) / safe, tf.float64) for channel in (red, green, blue))
    sector = tf.where(red == 0, blue - green, tf.where(green == 0, 2.0 + red - blue, 4.0 + green - red))
    turn = _through_float32(sector) / 6.0 + 1.0
    hue = tf.cast(tf.floor(_through_float32(turn - tf.floor(turn)) * 255.0), tf.float32)
    ratio = tf.cast(spread / tf.maximum(value, 1.0), tf.float64)
    saturation = tf.cast(tf.floor(ratio * 255.0), tf.float32)
    # The shift is truncated to a whole value, then wraps.
    hue = _wrap(
        tf.where(spread == 0, 0.0, hue) + tf.cast(tf.cast(turns * 255.0, tf.int32), tf.float32), 256.0
    )
    # A channel is value (1 - saturation w); in the hue circle's six sectors w is 0, 0, rising, 1, 1, falling.
    sector, fraction, channels = hue * 6.0 / 255.0, saturation / 255.0, []
    for start in (5.0, 3.0, 1.0):
        shifted = _wrap(sector + start, 6.0)
        weight = tf.clip_by_value(tf.minimum(shifted, 4.0 - shifted), 0.0, 1.0)
        channels.append(tf.floor(value * (1.0 - fraction * weight) + 0.5))
    return tf.stack(channels, axis=-1)


def _wrap(x: tf.Tensor, length: float) -> tf.Tensor:
    """Return `x` modulo `length`, for `x` from -length to 2 length."""
    return x - length * tf.floor(x / length)


def _through_float32(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(x, tf.float32), tf.float64)


def grayscale(image: tf.Tensor, u: tf.Tensor, op: recipe.Grayscale) -> tf.Tensor:
    """Set all channels to the luma."""
    return tf.repeat(luma(image), 3, axis=-1)


def blur(image: tf.Tensor, u: tf.Tensor, op: recipe.Blur) -> tf.Tensor:
    """Blur like PIL's GaussianBlur: three extended box passes per axis, each rounded to pixel values."""
    box = box_kernel(blur_sigma(u, op), op.max_sigma)
    image = tf.cast(image, tf.float64)
    for axis in (1, 0):
        for _ in range(3):
            image = tf.floor(_convolve(image, box, axis) + 0.5)
    return tf.cast(image, tf.float32)


def box_kernel(sigma: tf.Tensor, max_sigma: float) -> tf.Tensor:
    """Return `[2 r + 1]` weights of a box with fractional ends and variance sigma^2 / 3.

    See Gwosdek et al. 2011. Weights are float64 multiples of 2^-24, like Pillow's fixed point: many sums end
    in exactly one half. The radius r is the largest that `max_sigma` needs, so that the shape does not depend
    on sigma.
    """
    reach = int(math.sqrt(4.0 * max_sigma**2 + 1.0) - 1.0) // 2 + 1
    variance = tf.square(sigma) / 3.0
    whole = tf.floor((tf.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    # Weight of the two ends, relative to 1 inside, that makes the variance exact.
    end = (2 * whole + 1) * (whole * (whole + 1) - 3.0 * variance) / (6.0 * (variance - tf.square(whole + 1)))
    one = 2.0**24
    inside = tf.cast(tf.floor(one / (2 * (whole + end) + 1)), tf.float64)
    whole = tf.cast(whole, tf.float64)
    outside = tf.floor((one - (2 * whole + 1) * inside) / 2)
    distance = tf.abs(tf.range(-reach, reach + 1, dtype=tf.float64))
    box = tf.where(distance <= whole, inside, tf.where(distance == whole + 1, outside, 0.0))
    return tf.ensure_shape(box / one, [2 * reach + 1])


def _convolve(image: tf.Tensor, kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """Convolve along one axis of `[height, width, 3]`, with the border repeated."""
    reach, length = kernel.shape[0] // 2, tf.shape(image)[axis]
    first, last = (image[:1], image[-1:]) if axis == 0 else (image[:, :1], image[:, -1:])
    wide = tf.concat([first] * reach + [image] + [last] * reach, axis)
    parts = [wide[k : k + length] if axis == 0 else wide[:, k : k + length] for k in range(2 * reach + 1)]
    return tf.add_n([weight * part for weight, part in zip(tf.unstack(kernel), parts, strict=True)])


def solarize(image: tf.Tensor, u: tf.Tensor, op: recipe.Solarize) -> tf.Tensor:
    """Invert pixel values from the threshold up."""
    return tf.where(image < op.threshold, image, 255.0 - image)
