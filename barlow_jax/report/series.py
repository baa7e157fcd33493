"""The rows of the metrics as series over steps and epochs."""

from collections.abc import Iterator, Sequence
import math
from typing import NamedTuple

import numpy as np

from barlow_jax.report.schema import Run

# Of a series; more would not be seen.
_MOST_BINS = 300
_NO_METRIC = ("step", "epoch")


class Series(NamedTuple):
    """One metric of one run, without the rows that lack it."""

    steps: np.ndarray  # [n]
    epochs: np.ndarray  # [n]; nan where the run does not say
    values: np.ndarray  # [n]; nan where not finite

    @property
    def finite(self) -> np.ndarray:
        return self.values[np.isfinite(self.values)]

    def thinned(self) -> "Series":
        """With the smallest and the largest value of each of 300 stretches, so that no peak is lost."""
        if len(self.steps) <= 2 * _MOST_BINS:
            return self
        kept = sorted(
            {
                row
                for rows in np.array_split(np.arange(len(self.steps)), _MOST_BINS)
                for row in self._extremes(rows)
            }
        )
        return Series(*(column[kept] for column in self))

    def _extremes(self, rows: np.ndarray) -> Iterator[int]:
        values = self.values[rows]
        if np.isnan(values).any():
            yield int(rows[np.argmax(np.isnan(values))])  # a gap
        if not np.isnan(values).all():
            yield int(rows[np.nanargmin(values)])
            yield int(rows[np.nanargmax(values)])


def names(run: Run) -> list[str]:
    """Of the metrics, in the order in which they come."""
    return [
        name for name in dict.fromkeys(key for row in run.metrics for key in row) if name not in _NO_METRIC
    ]


def of(run: Run, name: str) -> Series:
    """All rows that have the metric."""
    rows = [row for row in run.metrics if name in row]
    steps = np.array([row["step"] for row in rows], np.float64)
    values = np.array([_number(row[name]) for row in rows], np.float64)
    return Series(steps, steps * _epochs_per_step(run), values)


def last(run: Run, name: str) -> float | None:
    """The newest finite value."""
    finite = of(run, name).finite
    return float(finite[-1]) if len(finite) else None


def trend(values: Sequence[float]) -> tuple[float, float] | None:
    """Medians of the first and of the last tenth, three values each at least; None below two values."""
    if len(values) < 2:
        return None
    size = max(1, min(len(values) // 2, max(3, len(values) // 10)))
    return float(np.median(values[:size])), float(np.median(values[-size:]))


def rate(run: Run) -> float | None:
    """Images a second, the median; the first row has the compilation."""
    rates = of(run, "images_per_second").finite
    rates = rates[1:] if len(rates) > 1 else rates
    return float(np.median(rates)) if len(rates) else None


def _epochs_per_step(run: Run) -> float:
    """Rows of evaluations have steps alone."""
    for row in run.metrics:
        if row.get("epoch") and row["step"]:
            return row["epoch"] / row["step"]
    return math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else value
