"""A user's own op, named in the config as FILE.py:FUNCTION or MODULE:FUNCTION."""

from collections.abc import Callable, Iterator
import functools
import importlib
import runpy
import traceback

import jax
import jax.numpy as jnp

from barlow_jax.config import recipe
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def apply(image: jax.Array, key: jax.Array, op: recipe.Custom) -> jax.Array:
    """Apply the function to a `[size, size, C]` float32 image, and clip the result to 0..1.

    Raises:
      UserError: the function cannot be read, raises, or returns another shape or dtype.
    """
    result = _call(op.function, load(op.function), image, key)
    shape, dtype = jnp.shape(result), getattr(result, "dtype", type(result).__name__)
    if (shape, dtype) != (image.shape, image.dtype):
        raise UserError(
            f"{op.function} returned {dtype} {list(shape)}, but must return the dtype and shape of its "
            f"image, {image.dtype} {list(image.shape)}."
        )
    return jnp.clip(result, 0.0, 1.0)


@functools.cache
def load(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the function. The file is run, or the module imported.

    Raises:
      UserError: the file or the function is missing, or the file raises.
    """
    source, _, function = name.rpartition(":")
    read = runpy.run_path if source.endswith(".py") else lambda module: vars(importlib.import_module(module))
    names = _call(name, read, source)
    if not callable(names.get(function)):
        raise UserError(f"{name}: {source} has no function {function!r}.")
    return names[function]


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


def _call(name: str, function: Callable, *arguments) -> jax.Array:
    try:
        return function(*arguments)
    except Exception as error:  # a user's code may raise anything; report the line that raised
        file = name.rpartition(":")[0]
        lines = [
            f", line {f.lineno}" for f in traceback.extract_tb(error.__traceback__) if f.filename == file
        ]
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{name}{''.join(lines[-1:])}: {message}") from error
