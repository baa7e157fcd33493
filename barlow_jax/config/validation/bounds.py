"""Numbers that lie outside of what they may be."""

from collections.abc import Iterator, Mapping
import math
from typing import Any


def members(prefix: str, record: Any, *names: str) -> dict[str, float]:
    """Fields of the record at `config.<prefix>`, by their keys."""
    return {f"{prefix}.{name}": getattr(record, name) for name in names}


def outside(
    positive: Mapping[str, float],
    not_negative: Mapping[str, float] = {},
    fractions: Mapping[str, float] = {},
    below_one: Mapping[str, float] = {},
) -> Iterator[str]:
    """The numbers, by their keys, that lie outside of what their group allows."""
    yield from (f"config.{k}: must be above 0, got {v}" for k, v in positive.items() if not 0 < v < math.inf)
    yield from (f"config.{k}: must not be negative, got {v}" for k, v in not_negative.items() if not v >= 0)
    yield from (f"config.{k}: must lie in 0..1, got {v}" for k, v in fractions.items() if not 0 <= v <= 1)
    yield from (
        f"config.{k}: must lie in 0..1, 1 excluded, got {v}" for k, v in below_one.items() if not 0 <= v < 1
    )
