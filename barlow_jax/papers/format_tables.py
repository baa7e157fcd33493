"""The tables that `evaluate` prints: scores by feature source, and scores next to published numbers."""

from collections.abc import Mapping, Sequence

from barlow_jax.papers import tables
from barlow_jax.papers.scores import Evaluation

_DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def table_by_source(evaluations: Mapping[str, Evaluation]) -> str:
    """Return a table of accuracies in percent: a row per classifier and label fraction, a column per source.

    Top-1 comes first, then the balanced accuracy, the mean over the classes.
    """
    lines = []
    for title, metric in (("top-1, %", "top1"), ("balanced accuracy, %", "balanced_accuracy")):
        lines.append(f"{title:<34}" + "".join(f"{source:>12}" for source in evaluations))
        for name, _, values in tables.rows_by_source(evaluations, metric):
            lines.append(f"{name:<34}" + "".join(_cell(value, 12) for value in values))
    return "\n".join(lines)


def published_table(evaluation: Evaluation | None, data_set: str) -> str:
    """Return a table of published numbers, a column per method, with this run's in the last column.

    Lines below the table name the rows that this run did not measure, and why. CIFAR and STL-10 have tables
    of their own.
    """
    setting, methods, rows = tables.published_table(evaluation, data_set)
    widths = {method: len(method) + 2 for method in methods}
    lines = [f"published on {setting}; this run on {data_set}"]
    lines.append(f"{'%':<36}" + "".join(f"{m:>{w}}" for m, w in widths.items()) + f"{'this run':>10}")
    for row in rows:
        cells = "".join(_cell(row.published.get(method), width) for method, width in widths.items())
        lines.append(f"{row.name:<36}{cells}{_cell(row.measured, 10)}")
    reasons = [f"  {row.name}: {row.reason}" for row in rows if row.reason]
    return "\n".join([*lines, *(["not measured:", *reasons] if reasons else [])])


def retrieval_table(evaluations: Sequence[Evaluation], data_set: str) -> str:
    """Return a table of R@K in percent: a row per feature source, and on COCO those of the papers."""
    rows = tables.retrieval_rows(evaluations, data_set)
    ks = list(next(iter(rows.values()))["image_to_text"])
    width = 7
    titles = "".join(f"{title:<{width * len(ks) + 2}}" for title in _DIRECTIONS.values())
    heads = "  ".join("".join(f"{f'R@{k}':>{width}}" for k in ks) for _ in _DIRECTIONS)
    lines = [" " * 28 + titles, f"{'%':<24}{heads}"]
    for name, row in rows.items():
        cells = "  ".join("".join(_cell(row[way].get(k), width) for k in ks) for way in _DIRECTIONS)
        lines.append(f"{name:<24}{cells}")
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.1f}"
