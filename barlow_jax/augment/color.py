"""Color ops of a View in JAX, with PIL's definitions: what `data/host_ops.py` does, on the accelerator.

An image is `[height, width, 3]` float32 that holds whole levels, 0..255, before and after every op. An op is
a function of the image, of a few uniforms in [0, 1) and of its record, for one image: `vmap` makes it one of
a batch. The uniforms mean what they mean on the host. Whole numbers below 2^24 are exact in float32, so hue,
saturation and luma are computed in them, and nothing hangs on how a device divides or contracts.
"""

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config import recipe

# Red, green and blue, each `[height, width]`.
Planes = list[jax.Array]

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


def jitter(image: jax.Array, u: jax.Array, op: recipe.Jitter) -> jax.Array:
    """Brightness, contrast, saturation and hue in random order.

    Hue, the dearest, is at one place of the program: the others that come before it, hue, the rest. A factor
    of 1 leaves every level as it is, and so says that a part is not here.
    """
    *factors, turns = jitter_strengths(u, op)
    active = [s > 0 for s in (op.brightness, op.contrast, op.saturation, op.hue)]
    first = jitter_precedence(u, active)
    planes = _planes(image)
    if op.hue:
        early = first[:3, _HUE]
        planes = _blends(planes, [jnp.where(e, f, 1.0) for e, f in zip(early, factors, strict=True)], first)
        planes = _shift_hue(planes, turns)
        factors = [jnp.where(e, 1.0, f) for e, f in zip(early, factors, strict=True)]
    return jnp.stack(_blends(planes, factors, first), axis=-1)


def jitter_strengths(u: jax.Array, op: recipe.Jitter) -> tuple[jax.Array, ...]:
    """Factors of brightness, contrast and saturation, U(max(0, 1 - s), 1 + s); turns of hue, U(-hue, hue)."""
    factors = (op.brightness, op.contrast, op.saturation)
    return (
        *(between(u[k], max(0.0, 1.0 - s), 1.0 + s) for k, s in enumerate(factors)),
        between(u[3], -op.hue, op.hue),
    )


def jitter_precedence(u: jax.Array, active: list[bool]) -> jax.Array:
    """`[4, 4]` booleans, whether part i comes before part j: the parts sorted by uniforms 4, 5, ... of their own.

    Every order of the active parts is as likely. The others draw nothing, and where they stand is all one.
    """
    places = np.cumsum(active) - 1
    drawn = jnp.stack([u[4 + max(place, 0)] for place in places])
    parts = np.arange(4)
    # Equal uniforms leave the parts in their order, as a stable sort does.
    ties = (drawn[:, None] == drawn) & (parts[:, None] < parts)
    return (drawn[:, None] < drawn) | ties


def _blends(planes: Planes, factors: list[jax.Array], first: jax.Array) -> Planes:
    """Brightness, contrast and saturation, in the order of `first`; a factor of 1 changes nothing."""
    brightness, contrast, saturation = factors
    early = first[:3, _CONTRAST]
    light_first = first[_BRIGHTNESS, _SATURATION]
    planes = _by_pixel(
        planes,
        jnp.where(early[_BRIGHTNESS], brightness, 1.0),
        jnp.where(early[_SATURATION], saturation, 1.0),
        light_first,
    )
    planes = _blend(_mean(_luma(planes)), planes, contrast)
    return _by_pixel(
        planes,
        jnp.where(early[_BRIGHTNESS], 1.0, brightness),
        jnp.where(early[_SATURATION], 1.0, saturation),
        light_first,
    )


def _by_pixel(planes: Planes, brightness: jax.Array, saturation: jax.Array, light_first: jax.Array) -> Planes:
    """Brightness and saturation, which look at no other pixel."""
    planes = _blend(0.0, planes, jnp.where(light_first, brightness, 1.0))
    planes = _blend(_luma(planes), planes, saturation)
    return _blend(0.0, planes, jnp.where(light_first, 1.0, brightness))


def adjust_brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Black blended with the image."""
    return jnp.stack(_blend(0.0, _planes(image), factor), axis=-1)


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
    """The mean of L blended with the image; of up to four million pixels."""
    planes = _planes(image)
    return jnp.stack(_blend(_mean(_luma(planes)), planes, factor), axis=-1)


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
    """L blended with the image."""
    planes = _planes(image)
    return jnp.stack(_blend(_luma(planes), planes, factor), axis=-1)


def shift_hue(image: jax.Array, turns: jax.Array) -> jax.Array:
    """Adds to H in PIL's 8-bit HSV, where 256 levels are one turn."""
    return jnp.stack(_shift_hue(_planes(image), turns), axis=-1)


def luma(image: jax.Array) -> jax.Array:
    """PIL's L, `[height, width]`: ITU-R 601 in 16-bit fixed point, rounded."""
    return _luma(_planes(image))


def _planes(image: jax.Array) -> Planes:
    """Accelerators lay three channels out badly side by side, and reduce and join them slowly."""
    return [image[..., channel] for channel in range(3)]


def _blend(start: jax.Array | float, planes: Planes, factor: jax.Array) -> Planes:
    """PIL's blend: start + factor (image - start), truncated and clipped.

    PIL rounds the product to float32 before it adds. A device that multiplies and adds in one does not, and a
    level is lost where the product is whole. The factor's upper bits and its lower ones, each times a level,
    are exact: then it is all one which of the two ways their sum is made.
    """
    upper = jnp.floor(factor * 2.0**11) / 2.0**11
    lower = factor - upper
    distances = [plane - start for plane in planes]
    return [jnp.clip(jnp.floor(start + (upper * d + lower * d)), 0.0, 255.0) for d in distances]


def _luma(planes: Planes) -> jax.Array:
    red, green, blue = planes
    return jnp.floor((19595.0 * red + 38470.0 * green + 7471.0 * blue + 32768.0) / 65536.0)


def _mean(levels: jax.Array) -> jax.Array:
    """Rounded to a level."""
    total = jnp.sum(levels.astype(jnp.int32))
    return ((2 * total + levels.size) // (2 * levels.size)).astype(jnp.float32)


def _shift_hue(planes: Planes, turns: jax.Array) -> Planes:
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    spread = value - jnp.minimum(jnp.minimum(red, green), blue)
    # Half a unit more than the fraction has keeps a division that is an ulp low from losing a level.
    saturation = jnp.floor((255.0 * spread + 0.5) / jnp.maximum(value, 1.0))
    hue = _hue(planes, value, spread) + jnp.trunc(turns * 255.0)
    hue = jnp.where(hue < 0, hue + 256.0, jnp.where(hue >= 256.0, hue - 256.0, hue))
    # Each channel is value (1 - saturation w), where w of the hue circle's six sectors goes 0, 0, up, 1, 1, down;
    # here in units of 1 / 255, and the circle is 6 * 255 of them.
    shifted = []
    for start in (5, 3, 1):
        place = 6.0 * hue + 255.0 * start
        place = jnp.where(place >= 1530.0, place - 1530.0, place)
        weight = jnp.clip(jnp.minimum(place, 1020.0 - place), 0.0, 255.0)
        shifted.append(_divide(value * (65025.0 - saturation * weight) + 32512.0, 65025.0))
    return shifted


def _hue(planes: Planes, value: jax.Array, spread: jax.Array) -> jax.Array:
    """PIL's H, `[height, width]`: 85 / 2 levels for each sixth of the circle, cut off to a whole one."""
    red, green, blue = planes
    # The place on the circle in units of spread: red lies at 0, green at 2, blue at 4.
    place = jnp.where(
        red == value,
        green - blue,
        jnp.where(green == value, 2.0 * spread + blue - red, 4.0 * spread + red - green),
    )
    place = 85.0 * jnp.where(place < 0, place + 6.0 * spread, place)
    unit = 2.0 * jnp.maximum(spread, 1.0)
    hue = jnp.floor((place + 0.5) / unit)
    lost = (hue * unit == place) & _is_lost(hue)
    return jnp.where(lost, hue - 1.0, hue)


def _lost_levels() -> np.ndarray:
    """`[8]` uint32, a bit for each H that PIL never says where it is exactly that: its float32 falls just below.

    Such colors lie 2 H / 85 sixths along the circle, whatever their spread: PIL's arithmetic, on one of each.
    """
    level = np.arange(256)
    sector, along = np.divmod(2 * level, 85)  # of the six, and 85ths of one
    up = (along / 85).astype(
        np.float32
    )  # of a channel that rises, as PIL has it: its distance from the maximum
    down = ((85 - along) / 85).astype(np.float32)
    one = np.float32(1)
    sixths = np.select(
        [sector == 0, sector == 1, sector == 2, sector == 3, sector == 4],
        [
            one - down,
            2.0 + up.astype(float) - 1.0,
            2.0 + 1.0 - down.astype(float),
            4.0 + up.astype(float) - 1.0,
            4.0 + 1.0 - down.astype(float),
        ],
        up - one,
    )
    turn = np.fmod(sixths.astype(np.float32).astype(float) / 6.0 + 1.0, 1.0).astype(np.float32)
    lost = np.floor(turn.astype(float) * 255.0) < level
    return np.packbits(lost, bitorder="little").view("<u4")


_LOST = _lost_levels()


def _is_lost(hue: jax.Array) -> jax.Array:
    """A table of 256 bits as eight words: accelerators are slow at looking up, and fast at selecting."""
    hue = hue.astype(jnp.uint32)
    word = jnp.zeros_like(hue)
    for number, bits in enumerate(_LOST):
        word = jnp.where(hue >> 5 == number, jnp.uint32(bits), word)
    return (word >> (hue & 31)) & 1 == 1


def _divide(dividend: jax.Array, divisor: float) -> jax.Array:
    """Whole numbers below 2^24 by a whole number, cut off; exact, however the device multiplies."""
    quotient = jnp.floor(dividend * np.float32(1 / divisor))
    rest = dividend - quotient * divisor
    return quotient + jnp.where(rest >= divisor, 1.0, 0.0) - jnp.where(rest < 0, 1.0, 0.0)


def grayscale(image: jax.Array, u: jax.Array, op: recipe.Grayscale) -> jax.Array:
    """All three channels become L."""
    del u, op
    return jnp.broadcast_to(luma(image)[..., None], image.shape)


def solarize(image: jax.Array, u: jax.Array, op: recipe.Solarize) -> jax.Array:
    """Levels from the threshold up are inverted."""
    del u
    return jnp.where(image < op.threshold, image, 255.0 - image)


def between(u: jax.Array, low: float, high: float) -> jax.Array:
    """U(low, high)."""
    return low + u * (high - low)
