"""A user's own op, a registered name or a function that the config names (`config.parts`)."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from barlow_jax.config import parts, recipe
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def apply(image: jax.Array, key: jax.Array, op: recipe.Custom) -> jax.Array:
    """Apply the function to a `[size, size, C]` float32 image, and clip the result to 0..1.

    Raises:
      UserError: the function cannot be read, raises, or returns another shape or dtype.
    """
    result = parts.call(op.function, parts.find("augmentation", op.function), image, key)
    shape, dtype = jnp.shape(result), getattr(result, "dtype", type(result).__name__)
    if (shape, dtype) != (image.shape, image.dtype):
        raise UserError(
            f"{op.function} returned {dtype} {list(shape)}, but must return the dtype and shape of its "
            f"image, {image.dtype} {list(image.shape)}."
        )
    return jnp.clip(result, 0.0, 1.0)


def problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with the ops of a config, which are traced for it, but not run."""
    for name, view in config.recipe.views.items():
        if view.applies("custom"):
            size = view.output_size(config.data.image_size)
            image = jax.ShapeDtypeStruct((size, size, config.data.channels), jnp.float32)
            try:
                jax.eval_shape(lambda image, op=view.custom: apply(image, jax.random.key(0), op), image)
            except UserError as error:
                yield f"config.recipe.views.{name}.custom.function: {error}"
