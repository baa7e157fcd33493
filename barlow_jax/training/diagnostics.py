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
from typing import Any, NamedTuple

SPREAD, DIAGONAL, RATIO = 0.05, 0.1, 0.9
# Finding by sign of collapse.
NAMES = {
    "full": "full collapse: the embeddings have collapsed to one vector",
    "shrinking": "shrinking: the embeddings shrink to one vector",
    "dimensional": "dimensional collapse: all features of the embeddings are the same",
    "diagonal": "the two views of an image do not agree",
}
# If the devices wait for data for a larger fraction of the time, the input limits the speed.
DATA_WAIT_FRACTION = 0.05


def finding(sign: str, metric: str, value: float, row: Mapping[str, Any]) -> str:
    """Return the finding of a sign of collapse with its numbers, and the rank of the embeddings if known."""
    diagonal = f"diagonal_mean {row.get('diagonal_mean') or 0:.2g}"
    healthy = {"dimensional": diagonal, "diagonal": "1 is perfect"}
    rank = row.get("rankme_embedding")
    directions = f"; effective rank of the embeddings {rank:.1f}" if rank else ""
    return f"{NAMES[sign]} ({metric} is {value:.2g}; {healthy.get(sign, 'about 1 is healthy')}{directions})"


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
        """Return metric and value by sign of collapse in a row, a key of `NAMES`."""
        signs = {}
        if row["embedding_spread"] < SPREAD:
            signs["full"] = ("embedding_spread", row["embedding_spread"])
        elif self.lengths and row["embedding_std_mean"] < SPREAD:
            signs["shrinking"] = ("embedding_std_mean", row["embedding_std_mean"])
        if self.correlations:
            diagonal = row["diagonal_mean"]
            if diagonal < DIAGONAL:
                signs["diagonal"] = ("diagonal_mean", diagonal)
            elif row["off_diagonal_rms"] > RATIO * diagonal:
                signs["dimensional"] = ("off_diagonal_rms", row["off_diagonal_rms"])
        return signs
