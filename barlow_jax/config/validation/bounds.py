"""Bounds of single keys, read from the schema."""

from collections.abc import Iterator

from barlow_jax.config import fields, values
from barlow_jax.config.schema import Config


def bound_problems(config: Config) -> Iterator[str]:
    """Yield every value that lies outside of its field's bounds."""
    for key, field, value in fields.walk(config):
        spec = field.metadata["spec"]
        if not spec.accepts(value):
            yield f"config.{key} is {value}, but must be {values.describe(field.type, spec)}."
