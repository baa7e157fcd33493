"""The tables that `evaluate` prints: ours by kind of features, and ours beside the papers'."""

from collections.abc import Mapping
from typing import Any

from barlow_jax.papers import tables


def by_kind(results: Mapping[str, Any]) -> str:
    """Top-1 in percent: a row a classifier and label fraction, a column a kind of features."""
    lines = [f"{'top-1, %':<34}" + "".join(f"{kind:>12}" for kind in results)]
    for name, scores in tables.by_kind(results):
        lines.append(f"{name:<34}" + "".join(_cell(score, 12) for score in scores))
    return "\n".join(lines)


def beside_the_papers(ours: Mapping[str, Any], data_name: str) -> str:
    """What the papers report, a column a method, and ours last; below, why a row was not measured.

    Args:
      ours: results of the pretrained encoder.
      data_name: of the data set; CIFAR and its like have tables of their own.
    """
    setting, methods, rows = tables.beside_the_papers(ours, data_name)
    widths = {method: len(method) + 2 for method in methods}
    lines = [f"published on {setting}; this run on {data_name}"]
    lines.append(f"{'%':<36}" + "".join(f"{m:>{w}}" for m, w in widths.items()) + f"{'this run':>10}")
    for row in rows:
        cells = "".join(_cell(row.theirs.get(method), width) for method, width in widths.items())
        lines.append(f"{row.name:<36}{cells}{_cell(row.ours, 10)}")
    notes = [f"  {row.name}: {row.why_not}" for row in rows if row.why_not]
    return "\n".join([*lines, *(["not measured:", *notes] if notes else [])])


def _cell(score: float | None, width: int) -> str:
    return f"{'-':>{width}}" if score is None else f"{score:>{width}.1f}"
