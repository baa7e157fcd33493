"""Arguments of a View's ops from their uniforms in [0, 1), the same on the host and on the accelerator.

`u` holds the uniforms of one image, an array of TensorFlow or JAX.
"""

from typing import Any

from barlow_jax.config import recipe


def is_applied(u: Any, op: Any) -> Any:
    """Return a boolean, true with the op's probability."""
    return u[0] < op.probability


def scale_uniform(u: Any, low: float, high: float) -> Any:
    """Scale uniforms in [0, 1) to U(low, high)."""
    return low + u * (high - low)


def rotation(u: Any, op: recipe.Rotate) -> Any:
    """Return counterclockwise degrees, U(-max_degrees, max_degrees)."""
    return scale_uniform(u[0], -op.max_degrees, op.max_degrees)


def jitter_strengths(u: Any, op: recipe.Jitter) -> tuple[Any, ...]:
    """Return factors of brightness, contrast and saturation, and turns of hue.

    A factor is U(max(0, 1 - s), 1 + s) for the op's strength s, the turns are U(-hue, hue).
    """
    factors = (op.brightness, op.contrast, op.saturation)
    return (
        *(scale_uniform(u[k], max(0.0, 1.0 - s), 1.0 + s) for k, s in enumerate(factors)),
        scale_uniform(u[3], -op.hue, op.hue),
    )


def blur_sigma(u: Any, op: recipe.Blur) -> Any:
    """Return the standard deviation in pixels, U(min_sigma, max_sigma)."""
    return scale_uniform(u[0], op.min_sigma, op.max_sigma)
