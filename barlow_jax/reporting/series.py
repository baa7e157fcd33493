"""Metrics of a run as series over steps and epochs."""

from collections.abc import Iterator, Sequence
import math
from typing import NamedTuple

import numpy as np

from barlow_jax.reporting.schema import Run

_MAX_BINS = 300


class Series(NamedTuple):
    """One metric of one run, over the rows that have it."""

    steps: np.ndarray  # [n]
    epochs: np.ndarray  # [n]; nan if unknown
    values: np.ndarray  # [n]; nan where not finite

    @property
    def finite(self) -> np.ndarray:
        """The finite values."""
        return self.values[np.isfinite(self.values)]

    def downsampled(self) -> "Series":
        """Return the minimum, the maximum and one gap of each of 300 bins, so that no peak is lost."""
        if len(self.steps) <= 2 * _MAX_BINS:
            return self
        bins = np.array_split(np.arange(len(self.steps)), _MAX_BINS)
        kept = sorted({row for rows in bins for row in self._extremes(rows)})
        return Series(*(column[kept] for column in self))

    def _extremes(self, rows: np.ndarray) -> Iterator[int]:
        values = self.values[rows]
        if np.isnan(values).any():
            yield int(rows[np.argmax(np.isnan(values))])
        if not np.isnan(values).all():
            yield int(rows[np.nanargmin(values)])
            yield int(rows[np.nanargmax(values)])


def read(run: Run, name: str) -> Series:
    """Return the series of a metric, over all rows that have it."""
    # Rows of evaluations have only a step.
    both = (row for row in run.metrics if row.get("epoch") and row["step"])
    epochs_per_step = next((row["epoch"] / row["step"] for row in both), math.nan)
    rows = [row for row in run.metrics if name in row]
    steps = np.array([row["step"] for row in rows], np.float64)
    values = np.array([row[name] for row in rows], np.float64)  # None becomes nan
    values[np.isinf(values)] = np.nan
    return Series(steps, steps * epochs_per_step, values)


def last_value(run: Run, name: str) -> float | None:
    """Return the newest finite value of a metric; None if there is none."""
    finite = read(run, name).finite
    return float(finite[-1]) if len(finite) else None


def trend(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the medians of the first and the last tenth, at least three values each; None below two."""
    if len(values) < 2:
        return None
    size = max(1, min(len(values) // 2, max(3, len(values) // 10)))
    return float(np.median(values[:size])), float(np.median(values[-size:]))


def images_per_second(run: Run) -> float | None:
    """Return the median throughput, without the first row, which includes compilation."""
    rates = read(run, "images_per_second").finite
    rates = rates[1:] if len(rates) > 1 else rates
    return float(np.median(rates)) if len(rates) else None
