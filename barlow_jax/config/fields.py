"""Config fields: a default together with its documentation, unit and bounds.

Validation, `python -m barlow_jax config` and docs/config.md read them, so that a new key is one edit.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Spec:
    """Documentation and bounds of one key. Bounds hold for each number of a list; None is always allowed."""

    doc: str
    unit: str = ""
    min: float | None = None  # inclusive
    above: float | None = None  # exclusive
    max: float | None = None  # inclusive
    below: float | None = None  # exclusive
    non_empty: bool = False  # for lists
    is_path: bool = False  # made absolute, `~` expanded
    part: str = ""  # kind of `parts` that the value names
    words: tuple[str, ...] = ()  # values of a path's or a part's field that are none

    def accepts(self, value: Any) -> bool:
        """Return whether a value of the right type lies within the bounds. NaN and infinities never do."""
        if isinstance(value, tuple):
            return (bool(value) or not self.non_empty) and all(map(self.accepts, value))
        if value is None or isinstance(value, (str, bool)):
            return True
        return (
            abs(value) < math.inf
            and (self.min is None or value >= self.min)
            and (self.above is None or value > self.above)
            and (self.max is None or value <= self.max)
            and (self.below is None or value < self.below)
        )

    def interval(self) -> str:
        """Return the bounds as text, such as "> 0" or "in [0, 1)"; empty if there are none.

        >>> Spec("", min=0, below=1).interval()
        'in [0, 1)'
        """
        low = self.min if self.above is None else self.above
        high = self.max if self.below is None else self.below
        if low is None:
            return ""
        if high is None:
            return f"{'>=' if self.above is None else '>'} {low:g}"
        return f"in {'[' if self.above is None else '('}{low:g}, {high:g}{']' if self.below is None else ')'}"


def field(default: Any, doc: str, **spec: Any) -> Any:
    """Return a dataclass field for one config key.

    Args:
      default: value of the key in the ImageNet recipe.
      doc: sentences on what the key does, shown by `python -m barlow_jax config` and in docs/config.md.
      **spec: the other fields of `Spec`: unit, min, above, max, below, non_empty, is_path, part,
        words.
    """
    return dataclasses.field(default=default, metadata={"spec": Spec(doc, **spec)})


def walk(record: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Yield `(key, field, value)` for all keys of a config record, in the order of the schema."""
    for member in dataclasses.fields(record):
        value, key = getattr(record, member.name), f"{prefix}{member.name}"
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{key}.")
        elif isinstance(value, Mapping):
            for name, item in value.items():
                yield from walk(item, f"{key}.{name}.")
        else:
            yield key, member, value
