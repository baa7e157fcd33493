"""Signs in a row of the metrics that something is wrong, and the thresholds. What a run warns of, and a report shows.

Thresholds of collapse, and where runs on the digits are, the quickstart and the methods' (step 100 on, seed 0):

    sign                                     threshold    healthy      collapsing
    embedding_spread                         < 0.05       0.3 and up   0 where all embeddings are one vector
    embedding_std_mean, of VICReg            < 0.05       0.28 and up  0 without the variance term: all become 0
    diagonal_mean                            < 0.1        0.4 and up   0.05 without the invariance term
    off_diagonal_rms / diagonal_mean         > 0.9        0.5          0.98 without redundancy reduction

A collapse goes on towards 0 ever more slowly: BYOL's without predictor and average is at 0.03 after 400 steps of the
digits' recipe; below a spread of 0.01 embeddings in bfloat16 have a few levels left. The last sign says that features
agree with each other as they do with themselves: all of them are one.
"""

from collections.abc import Mapping
from typing import NamedTuple

SPREAD, DIAGONAL, RATIO = 0.05, 0.1, 0.9
# Above this share of the time the data, not the devices, set the pace.
WAIT_SHARE = 0.05


class CollapseCriteria(NamedTuple):
    """What the embeddings of a method can be seen to collapse by."""

    correlations: bool  # C has a diagonal that is 1 where the views agree
    lengths: bool  # the loss changes with the length of the embeddings

    @classmethod
    def of(cls, objective: str, normalization: str, temperature: float | None) -> "CollapseCriteria":
        """Args: the method's name, and Barlow Twins' two settings under which C is a covariance, or its sums are
        entropies."""
        twins = objective == "barlow_twins" and normalization == "batch" and temperature is None
        return cls(twins, objective == "vicreg")

    def signs(self, row: Mapping[str, float]) -> dict[str, tuple[str, float]]:
        """The metric and its value by sign: "spread", "diagonal", "rank"; those that are there."""
        found = {}
        name = "embedding_spread"
        if self.lengths and row["embedding_std_mean"] < row[name]:
            name = "embedding_std_mean"
        if row[name] < SPREAD:
            found["spread"] = (name, row[name])
        if self.correlations:
            diagonal = row["diagonal_mean"]
            if diagonal < DIAGONAL:
                found["diagonal"] = ("diagonal_mean", diagonal)
            elif row["off_diagonal_rms"] > RATIO * diagonal:
                found["rank"] = ("off_diagonal_rms", row["off_diagonal_rms"])
        return found
