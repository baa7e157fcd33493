"""Thresholds on metrics that indicate a problem; training warns of them, and the report shows them.

Thresholds of collapse, with the range of runs on the digits (quickstart and other methods, step 100 on, seed
0):

    sign                                     threshold    healthy      collapsing
    embedding_spread                         < 0.05       0.3 and up   0 if all embeddings are one vector
    embedding_std_mean (VICReg)              < 0.05       0.28 and up  0 without the variance term: all become
    0 diagonal_mean                            < 0.1        0.4 and up   0.05 without the invariance term
    off_diagonal_rms / diagonal_mean         > 0.9        0.5          0.98 without redundancy reduction

A collapse approaches 0 ever more slowly: BYOL without predictor and moving average is at 0.03 after 400 steps
of the digits recipe. Below a spread of 0.01, embeddings in bfloat16 take only a few distinct values. The last
sign means that features correlate with each other as much as with themselves: all of them are one feature.
"""

from collections.abc import Mapping
from typing import NamedTuple

SPREAD, DIAGONAL, RATIO = 0.05, 0.1, 0.9
# If the devices wait for data for a larger fraction of the time, the input limits the speed.
DATA_WAIT_FRACTION = 0.05


class CollapseCriteria(NamedTuple):
    """Criteria of collapse that apply to a method's embeddings."""

    correlations: bool  # C has a diagonal that is 1 if the views agree
    lengths: bool  # the loss depends on the length of the embeddings

    @classmethod
    def for_objective(
        cls, objective: str, normalization: str, temperature: float | None
    ) -> "CollapseCriteria":
        """Return the criteria of a method.

        Args:
          objective: name of the method.
          normalization: Barlow Twins' setting; other than "batch", C is a covariance.
          temperature: Barlow Twins' setting; if set, the sums over C are entropies.
        """
        twins = objective == "barlow_twins" and normalization == "batch" and temperature is None
        return cls(twins, objective == "vicreg")

    def signs(self, row: Mapping[str, float]) -> dict[str, tuple[str, float]]:
        """Return metric and value by sign of collapse in a row: "spread", "diagonal", "rank"."""
        signs = {}
        name = "embedding_spread"
        if self.lengths and row["embedding_std_mean"] < row[name]:
            name = "embedding_std_mean"
        if row[name] < SPREAD:
            signs["spread"] = (name, row[name])
        if self.correlations:
            diagonal = row["diagonal_mean"]
            if diagonal < DIAGONAL:
                signs["diagonal"] = ("diagonal_mean", diagonal)
            elif row["off_diagonal_rms"] > RATIO * diagonal:
                signs["rank"] = ("off_diagonal_rms", row["off_diagonal_rms"])
        return signs
