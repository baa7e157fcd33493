"""The measurements of a run that the summary is about."""

from collections.abc import Mapping
from typing import NamedTuple

from barlow_jax.papers import tables
from barlow_jax.report.schema import Run


class Headline(NamedTuple):
    """One classifier on the most labels that it was given."""

    group: str  # "knn", "linear"
    name: str
    values: Mapping[str, float | None]  # by kind of features, in percent


def headlines(run: Run) -> list[Headline]:
    """k-NN and linear, of the most labels."""
    results = tables.of_run(run.results)
    if not results:
        return []
    # Fractions rise, so the last one of a classifier has the most labels.
    rows = dict(tables.by_kind(results))
    groups = {
        "knn": [name for name in rows if name.startswith("k-NN") and "Euclidean" not in name],
        "linear": [name for name in rows if name.startswith("linear")],
    }
    return [
        Headline(group, names[-1], dict(zip(results, rows[names[-1]], strict=True)))
        for group, names in groups.items()
        if names
    ]
