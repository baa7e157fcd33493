"""Color ops of a View in JAX, with PIL's definitions; the accelerator's version of `data/host_ops.py`.

Images are `[height, width, 3]` float32 and hold whole pixel values 0..255 before and after every op (largest
value `top` = 255), or values in 0..1, which are not rounded (`top` = 1). An op is a function of one image, of
a few uniforms in [0, 1), of its record and of `top`; `vmap` applies it to a batch. The uniforms have the same
meaning as on the host. Hue, saturation and luma of whole pixel values are computed in whole numbers below
2^24, which are exact in float32, so results do not depend on how a device divides or fuses operations.
"""

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config import recipe
from barlow_jax.data.op_uniforms import jitter_strengths

# Red, green and blue channels, each `[height, width]`.
Planes = list[jax.Array]

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
# A bit for each H that PIL rounds down even where H is exactly whole, because its float32 result falls just
# below. Such colors lie 2 H / 85 sixths along the circle, at any spread.
_SKIPPED_HUES = 0xFFFFFFFE, 0, 0x11000000, 0x111, 0x222AAAAA, 0x23232222, 0x22222, 0x80000000


def jitter(image: jax.Array, u: jax.Array, op: recipe.Jitter, top: float = 255.0) -> jax.Array:
    """Change brightness, contrast, saturation and hue in random order.

    Hue is the most expensive part and is computed once: first the parts that precede it, then hue, then the
    others. A factor of 1 changes no pixel value and so turns a part off.
    """
    *factors, turns = jitter_strengths(u, op)
    active = [s > 0 for s in (op.brightness, op.contrast, op.saturation, op.hue)]
    precedes = jitter_precedence(u, active)
    planes = _planes(image)
    if op.hue:
        early = precedes[:3, _HUE]
        planes = _blends(
            planes, [jnp.where(e, f, 1.0) for e, f in zip(early, factors, strict=True)], precedes, top
        )
        planes = (_shift_hue if top == 255 else _shift_exact_hue)(planes, turns)
        factors = [jnp.where(e, 1.0, f) for e, f in zip(early, factors, strict=True)]
    return _stack(_blends(planes, factors, precedes, top))


def _stack(planes: Planes) -> jax.Array:
    """Return `[height, width, 3]` of three channels; on CPUs of their exact products with the identity.

    XLA does not fuse a product. It would fuse the stack with the whole jitter, and its code for a fused stack
    may compute what the channels share once for each use, which took a hundred times as long.
    """

    def multiply(planes: Planes) -> Planes:
        identity = jnp.eye(planes[0].shape[1], dtype=planes[0].dtype)
        return [jnp.matmul(plane, identity, precision="highest") for plane in planes]

    return jnp.stack(jax.lax.platform_dependent(planes, cpu=multiply, default=lambda planes: planes), axis=-1)


def jitter_precedence(u: jax.Array, active: list[bool]) -> jax.Array:
    """Return `[4, 4]` booleans that are true where part i comes before part j.

    Active parts are sorted by the uniforms from index 4 on, one per part, so every order is equally likely.
    The position of inactive parts does not matter.
    """
    ranks = np.cumsum(active) - 1
    sort_keys = jnp.stack([u[4 + max(rank, 0)] for rank in ranks])
    parts = np.arange(4)
    # Parts with equal uniforms keep their order, as in a stable sort.
    ties = (sort_keys[:, None] == sort_keys[None]) & (parts[:, None] < parts)
    return (sort_keys[:, None] < sort_keys[None]) | ties


def _blends(planes: Planes, factors: list[jax.Array], precedes: jax.Array, top: float) -> Planes:
    """Change brightness, contrast and saturation in the given order; a factor of 1 changes nothing."""
    brightness, contrast, saturation = factors
    early, brightness_first = precedes[:3, _CONTRAST], precedes[_BRIGHTNESS, _SATURATION]

    def pointwise(planes: Planes, active: jax.Array) -> Planes:
        """Change brightness and saturation, which depend on a single pixel, if they are active."""
        brightening = jnp.where(active[_BRIGHTNESS], brightness, 1.0)
        planes = _blend(0.0, planes, jnp.where(brightness_first, brightening, 1.0), top)
        planes = _blend(_luma(planes, top), planes, jnp.where(active[_SATURATION], saturation, 1.0), top)
        return _blend(0.0, planes, jnp.where(brightness_first, 1.0, brightening), top)

    planes = pointwise(planes, early)
    planes = _blend(_mean(_luma(planes, top), top), planes, contrast, top)
    return pointwise(planes, ~early)


def _planes(image: jax.Array) -> Planes:
    """Split the channels: accelerators are slow at ops along an axis of length three."""
    return [image[..., channel] for channel in range(3)]


def _blend(start: jax.Array | float, planes: Planes, factor: jax.Array, top: float = 255.0) -> Planes:
    """Blend like PIL: start + factor (image - start), truncated and clipped.

    PIL rounds the product to float32 before it adds. A device with fused multiply-add does not, which loses a
    value where the product is whole. The products with the factor's upper and lower bits are both exact, so
    their sum does not depend on fusion.
    """
    if top != 255:
        return [jnp.clip(start + factor * (plane - start), 0.0, top) for plane in planes]
    upper = jnp.floor(factor * 2.0**11) / 2.0**11
    lower = factor - upper
    distances = [plane - start for plane in planes]
    return [jnp.clip(jnp.floor(start + (upper * d + lower * d)), 0.0, 255.0) for d in distances]


def _luma(planes: Planes, top: float = 255.0) -> jax.Array:
    """Return PIL's L: ITU-R 601 in 16-bit fixed point, which is rounded for whole pixel values."""
    red, green, blue = planes
    if top != 255:
        return (19595.0 * red + 38470.0 * green + 7471.0 * blue) / 65536.0
    return jnp.floor((19595.0 * red + 38470.0 * green + 7471.0 * blue + 32768.0) / 65536.0)


def _mean(plane: jax.Array, top: float = 255.0) -> jax.Array:
    """Return the mean pixel value; that of whole pixel values is rounded to a whole number."""
    if top != 255:
        return jnp.mean(plane)
    total = jnp.sum(plane.astype(jnp.int32))
    return ((2 * total + plane.size) // (2 * plane.size)).astype(jnp.float32)


def _shift_hue(planes: Planes, turns: jax.Array) -> Planes:
    value, spread, angle = _hue_angle(planes)
    # The additional half unit protects against a division that is an ulp low.
    saturation = jnp.floor((255.0 * spread + 0.5) / jnp.maximum(value, 1.0))
    hue = _hue(angle, spread) + jnp.trunc(turns * 255.0)
    hue = jnp.where(hue < 0, hue + 256.0, jnp.where(hue >= 256.0, hue - 256.0, hue))
    # Each channel is value (1 - saturation w). Over the six sectors of the hue circle w is 0, 0, rising, 1,
    # 1, falling. Units are 1 / 255, of which the circle has 6 * 255.
    shifted = []
    for start in (5, 3, 1):
        angle = 6.0 * hue + 255.0 * start
        angle = jnp.where(angle >= 1530.0, angle - 1530.0, angle)
        weight = jnp.clip(jnp.minimum(angle, 1020.0 - angle), 0.0, 255.0)
        shifted.append(_divide(value * (65025.0 - saturation * weight) + 32512.0, 65025.0))
    return shifted


def _shift_exact_hue(planes: Planes, turns: jax.Array) -> Planes:
    """Shift the hue of values in 0..1 by a rotation of the HSV circle, without rounding."""
    value, spread, angle = _hue_angle(planes)
    sixths = angle / jnp.where(spread == 0, 1.0, spread)
    angles = [jnp.mod(sixths + 6.0 * turns + start, 6.0) for start in (5, 3, 1)]
    return [value - spread * jnp.clip(jnp.minimum(angle, 4.0 - angle), 0.0, 1.0) for angle in angles]


def _hue_angle(planes: Planes) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the largest channel, its distance from the smallest, and the angle on the hue circle.

    The angle is in units of that distance, six of which are a turn: red is at 0, green at 2, blue at 4.
    """
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    spread = value - jnp.minimum(jnp.minimum(red, green), blue)
    from_green = jnp.where(green == value, 2.0 * spread + blue - red, 4.0 * spread + red - green)
    return value, spread, jnp.where(red == value, green - blue, from_green)


def _hue(angle: jax.Array, spread: jax.Array) -> jax.Array:
    """Return PIL's H, `[height, width]`: 85 / 2 values for each sixth of the circle, truncated."""
    angle = 85.0 * jnp.where(angle < 0, angle + 6.0 * spread, angle)
    unit = 2.0 * jnp.maximum(spread, 1.0)
    hue = jnp.floor((angle + 0.5) / unit)
    skipped = (hue * unit == angle) & _is_skipped(hue)
    return jnp.where(skipped, hue - 1.0, hue)


def _is_skipped(hue: jax.Array) -> jax.Array:
    """Look H up in a table of 256 bits, eight words: accelerators are slow at gathers, fast at selects."""
    hue = hue.astype(jnp.uint32)
    word = jnp.zeros_like(hue)
    for index, bits in enumerate(_SKIPPED_HUES):
        word = jnp.where(hue >> 5 == index, jnp.uint32(bits), word)
    return (word >> (hue & 31)) & 1 == 1


def _divide(dividend: jax.Array, divisor: float) -> jax.Array:
    """Divide whole numbers below 2^24 by a whole number, truncated; exact on any device."""
    quotient = jnp.floor(dividend * np.float32(1 / divisor))
    remainder = dividend - quotient * divisor
    return quotient + jnp.where(remainder >= divisor, 1.0, 0.0) - jnp.where(remainder < 0, 1.0, 0.0)


def grayscale(image: jax.Array, u: jax.Array, op: recipe.Grayscale, top: float = 255.0) -> jax.Array:
    """Set all three channels to L."""
    return jnp.broadcast_to(_luma(_planes(image), top)[..., None], image.shape)


def solarize(image: jax.Array, u: jax.Array, op: recipe.Solarize, top: float = 255.0) -> jax.Array:
    """Invert pixel values from the threshold up."""
    return jnp.where(image < op.threshold * (top / 255.0), image, top - image)
