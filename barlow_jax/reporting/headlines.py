"""Headline scores of a run: k-NN and linear probe with the most labels."""

from collections.abc import Mapping
from typing import NamedTuple

from barlow_jax.papers import tables
from barlow_jax.papers.scores import read_evaluations
from barlow_jax.reporting.schema import Run


class Headline(NamedTuple):
    """One classifier with the highest fraction of the labels."""

    command: str  # "knn" or "probe"
    name: str
    values: Mapping[str, float | None]  # percent by feature source


def headline_scores(run: Run) -> list[Headline]:
    """Return the cosine k-NN and the linear probe with the highest fraction of the labels."""
    evaluations = read_evaluations(run.results)
    last = {}  # by evaluation; label fractions increase, so the last row has the most labels
    for row in tables.rows_by_source(evaluations):
        if row.score.distance != "euclidean":
            last[row.score.command] = row
    return [
        Headline(command, last[command].name, dict(zip(evaluations, last[command].values, strict=True)))
        for command in ("knn", "probe")
        if command in last
    ]


def unusable_labels(run: Run) -> str | None:
    """Return why the run's own data allow no accuracy; None if they do, or if that is not recorded."""
    data = run.results.get("pretrain", {}).get("data")
    if not data or (data["num_classes"] or 0) > 1:
        return None
    classes = "images of one class" if data["num_classes"] else "no labels"
    return f"No accuracy: {data['name']} has {classes}. Neighbors, spectra and ranks need no labels."
