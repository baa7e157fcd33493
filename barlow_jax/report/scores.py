"""The scores of a run that the summary shows."""

from collections.abc import Mapping
from typing import NamedTuple

from barlow_jax.papers import tables
from barlow_jax.papers.scores import read_evaluations
from barlow_jax.report.schema import Run


class Headline(NamedTuple):
    """One classifier with the highest fraction of the labels."""

    evaluation: str  # "knn" or "probe"
    name: str
    values: Mapping[str, float | None]  # percent by feature source


def headlines(run: Run) -> list[Headline]:
    """Return the cosine k-NN and the linear probe with the highest fraction of the labels."""
    evaluations = read_evaluations(run.results)
    last = {}  # fractions rise, so the last row of an evaluation has the highest
    for row in tables.rows_by_source(evaluations):
        if row.score.distance != "euclidean":
            last[row.score.evaluation] = row
    return [
        Headline(command, last[command].name, dict(zip(evaluations, last[command].values, strict=True)))
        for command in ("knn", "probe")
        if command in last
    ]
