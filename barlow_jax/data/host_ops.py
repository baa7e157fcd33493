"""The host interpreter of a View: each op in TensorFlow, with PIL's definitions; the reference.

Images are `[height, width, 3]` float32 that hold whole uint8 levels, 0..255, after every op. An op is a
function of the image and of a few uniforms in [0, 1): the randomness is the caller's, and an op with
the same uniforms does the same. Rounding follows PIL: blends truncate, L rounds to nearest.
"""

import math

import tensorflow as tf

from barlow_jax.config import recipe

CROP_ATTEMPTS = 10


def crop(image: tf.Tensor, u: tf.Tensor, op: recipe.Crop, size: int) -> tf.Tensor:
    """RandomResizedCrop of float32 or uint8 levels to `[size, size, 3]` float32."""
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
    """PIL's antialiased resize: along the width, then along the height, rounded to float32 levels each time."""
    for length in (shape[1], shape[0]):
        image = _resize_rows(tf.transpose(image, (1, 0, 2)), length, method)
    return image


def _resize_rows(image: tf.Tensor, length: tf.Tensor | int, method: str) -> tf.Tensor:
    """`[height, width, 3]` to `[length, width, 3]`."""
    height, width = tf.unstack(tf.shape(image)[:2])
    # A whole row as the channels of one pixel: TensorFlow's inner loop runs over channels, and is
    # several times slower over three of them.
    rows = tf.reshape(image, (1, height, 1, width * 3))
    resized = tf.image.resize(rows, (length, 1), method, antialias=True)
    return tf.clip_by_value(tf.floor(tf.reshape(resized, (length, width, 3)) + 0.5), 0.0, 255.0)


def rotate(image: tf.Tensor, u: tf.Tensor, op: recipe.Rotate) -> tf.Tensor:
    """Rotation about the centre; bilinear, black outside."""
    angle = rotation(u, op) * (math.pi / 180)
    size = tf.shape(image)[:2]
    center = tf.cast(size - 1, tf.float32) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    row, column = center[0], center[1]
    # The eight numbers of an output-to-input map (x, y): x' = a x + b y + c, y' = d x + e y + f.
    transform = tf.stack(
        [
            cos,
            -sin,
            column - cos * column + sin * row,
            sin,
            cos,
            row - sin * column - cos * row,
            0.0,
            0.0,
        ]
    )
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.round(rotated[0])


def rotation(u: tf.Tensor, op: recipe.Rotate) -> tf.Tensor:
    """Degrees, counterclockwise: U(-max_degrees, max_degrees)."""
    return _between(u[0], -op.max_degrees, op.max_degrees)


def flip(image: tf.Tensor, u: tf.Tensor, op: recipe.Flip) -> tf.Tensor:
    del u, op
    return tf.reverse(image, axis=[1])


def jitter(image: tf.Tensor, u: tf.Tensor, op: recipe.Jitter) -> tf.Tensor:
    """Brightness, contrast, saturation and hue in random order."""
    brightness, contrast, saturation, turns = jitter_strengths(u, op)
    parts = {
        "brightness": lambda x: blend(tf.zeros_like(x), x, brightness),
        "contrast": lambda x: blend(tf.floor(tf.reduce_mean(luma(x)) + 0.5), x, contrast),
        "saturation": lambda x: blend(luma(x), x, saturation),
        "hue": lambda x: shift_hue(x, turns),
    }
    parts = [part for name, part in parts.items() if getattr(op, name) > 0]
    order = jitter_order(u, len(parts))
    for place in range(len(parts)):
        image = tf.switch_case(order[place], [lambda x=image, part=part: part(x) for part in parts])
    return image


def jitter_strengths(u: tf.Tensor, op: recipe.Jitter) -> tuple[tf.Tensor, ...]:
    """Factors of brightness, contrast and saturation, U(max(0, 1 - s), 1 + s); turns of hue, U(-hue, hue)."""
    factors = (op.brightness, op.contrast, op.saturation)
    return (
        *(_between(u[k], max(0.0, 1.0 - s), 1.0 + s) for k, s in enumerate(factors)),
        _between(u[3], -op.hue, op.hue),
    )


def jitter_order(u: tf.Tensor, num_parts: int) -> tf.Tensor:
    """`[num_parts]` int32, every permutation as likely: which part comes first, second and so on."""
    return tf.argsort(u[4 : 4 + num_parts])


def blend(start: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """PIL's blend: start + factor (image - start), truncated and clipped."""
    return tf.clip_by_value(tf.floor(start + factor * (image - start)), 0.0, 255.0)


def luma(image: tf.Tensor) -> tf.Tensor:
    """PIL's L, `[height, width, 1]`: ITU-R 601 in 16-bit fixed point, rounded."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    rounded = 19595 * red + 38470 * green + 7471 * blue + 32768
    return tf.cast(tf.bitwise.right_shift(rounded, 16), tf.float32)[..., tf.newaxis]


def shift_hue(image: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Adds to H in PIL's 8-bit HSV, where 256 levels are one turn."""
    red, green, blue = tf.unstack(image, axis=-1)  # TensorFlow is slow along an axis of three
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    safe = tf.where(spread == 0, 1.0, spread)
    # Levels are cut off, not rounded, and many colors sit exactly on one: float64 and float32 where
    # Pillow has them, or a level is lost.
    red, green, blue = (tf.cast((value - channel) / safe, tf.float64) for channel in (red, green, blue))
    sector = tf.where(red == 0, blue - green, tf.where(green == 0, 2.0 + red - blue, 4.0 + green - red))
    turn = _through_float32(sector) / 6.0 + 1.0
    hue = tf.cast(tf.floor(_through_float32(turn - tf.floor(turn)) * 255.0), tf.float32)
    ratio = tf.cast(spread / tf.maximum(value, 1.0), tf.float64)
    saturation = tf.cast(tf.floor(ratio * 255.0), tf.float32)
    # The shift is cut to a whole level towards zero, then wraps.
    hue = _wrap(
        tf.where(spread == 0, 0.0, hue) + tf.cast(tf.cast(turns * 255.0, tf.int32), tf.float32), 256.0
    )
    # Each channel is value (1 - saturation w), where w of the hue circle's six sectors goes 0, 0, up, 1, 1, down.
    sector, share, channels = hue * 6.0 / 255.0, saturation / 255.0, []
    for start in (5.0, 3.0, 1.0):
        place = _wrap(sector + start, 6.0)
        weight = tf.clip_by_value(tf.minimum(place, 4.0 - place), 0.0, 1.0)
        channels.append(tf.floor(value * (1.0 - share * weight) + 0.5))
    return tf.stack(channels, axis=-1)


def _wrap(x: tf.Tensor, length: float) -> tf.Tensor:
    """x modulo the length, for x from -length to 2 length."""
    return x - length * tf.floor(x / length)


def _through_float32(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(x, tf.float32), tf.float64)


def grayscale(image: tf.Tensor, u: tf.Tensor, op: recipe.Grayscale) -> tf.Tensor:
    del u, op
    return tf.repeat(luma(image), 3, axis=-1)


def blur(image: tf.Tensor, u: tf.Tensor, op: recipe.Blur) -> tf.Tensor:
    """PIL's GaussianBlur: three extended box passes an axis, rounded to levels after each pass."""
    box = box_kernel(blur_sigma(u, op), op.max_sigma)
    image = tf.cast(image, tf.float64)
    for axis in (1, 0):
        for _ in range(3):
            image = tf.floor(_convolve(image, box, axis) + 0.5)
    return tf.cast(image, tf.float32)


def blur_sigma(u: tf.Tensor, op: recipe.Blur) -> tf.Tensor:
    """Pixels: U(min_sigma, max_sigma)."""
    return _between(u[0], op.min_sigma, op.max_sigma)


def box_kernel(sigma: tf.Tensor, max_sigma: float) -> tf.Tensor:
    """Weights `[2 r + 1]` of a box with fractional ends and variance sigma^2 / 3 (Gwosdek et al. 2011).

    float64 in units of 2^-24, as Pillow's fixed point has them: many sums end in exactly one half.
    r is the largest that `max_sigma` needs, so that the shape does not depend on the draw.
    """
    reach = int(math.sqrt(4.0 * max_sigma**2 + 1.0) - 1.0) // 2 + 1
    variance = tf.square(sigma) / 3.0
    whole = tf.floor((tf.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    # What the two ends must weigh, against 1 inside, for the variance to come out exactly.
    end = (2 * whole + 1) * (whole * (whole + 1) - 3.0 * variance) / (6.0 * (variance - tf.square(whole + 1)))
    one = 2.0**24
    inside = tf.cast(tf.floor(one / (2 * (whole + end) + 1)), tf.float64)
    whole = tf.cast(whole, tf.float64)
    outside = tf.floor((one - (2 * whole + 1) * inside) / 2)
    places = tf.abs(tf.range(-reach, reach + 1, dtype=tf.float64))
    box = tf.where(places <= whole, inside, tf.where(places == whole + 1, outside, 0.0))
    return tf.ensure_shape(box / one, [2 * reach + 1])


def _convolve(image: tf.Tensor, kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """Along one axis of `[height, width, 3]`, the border repeated."""
    reach, length = kernel.shape[0] // 2, tf.shape(image)[axis]
    first, last = (image[:1], image[-1:]) if axis == 0 else (image[:, :1], image[:, -1:])
    wide = tf.concat([first] * reach + [image] + [last] * reach, axis)
    parts = [wide[k : k + length] if axis == 0 else wide[:, k : k + length] for k in range(2 * reach + 1)]
    return tf.add_n([weight * part for weight, part in zip(tf.unstack(kernel), parts, strict=True)])


def solarize(image: tf.Tensor, u: tf.Tensor, op: recipe.Solarize) -> tf.Tensor:
    """Levels from the threshold up are inverted."""
    del u
    return tf.where(image < op.threshold, image, 255.0 - image)


def _between(u: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + u * (high - low)
