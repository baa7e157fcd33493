"""Signs of a problem in the metrics; training warns of them, and the report shows them.

Thresholds of collapse, with the range of runs on the digits (quickstart and other methods, step 100 on, seed
0):

    sign                                     threshold    healthy      collapsing
    embedding_spread                         < 0.05       0.3 and up   0 if all embeddings are one vector
    embedding_std_mean (VICReg)              < 0.05       0.28 and up  0 without the variance term
    diagonal_mean                            < 0.1        0.4 and up   0.05 without the invariance term
    off_diagonal_rms / diagonal_mean         > 0.9        0.5          0.98 without redundancy reduction

A collapse approaches 0 ever more slowly: BYOL without predictor and moving average is at 0.03 after 400 steps
of the digits recipe. Below a spread of 0.01, embeddings in bfloat16 take only a few distinct values. The last
sign means that features correlate with each other as much as with themselves: all of them are one feature.
"""

from collections.abc import Mapping
from typing import Any

from barlow_jax.config.method_facts import method_facts

SPREAD, DIAGONAL, RATIO = 0.05, 0.1, 0.9
PERSISTENT_ROWS = 5  # rows in succession with a sign of collapse; one unlucky batch has one too
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


def collapse_signs(row: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Return metric and value by sign of collapse in a row, a key of `NAMES`; none if it lacks a metric.

    The config has flat keys. Only some methods have a matrix C whose diagonal is 1 if the views agree: Barlow
    Twins with another normalization has a covariance, with a temperature entropies.
    """
    objective, group = config.get("objective.name", ""), "objective.barlow_twins"
    has_correlations = (
        objective == "barlow_twins"
        and config.get(f"{group}.normalization", "batch") == "batch"
        and config.get(f"{group}.temperature") is None
    )
    reads_lengths = objective == "vicreg"  # the loss depends on the length of the embeddings
    needed = ["embedding_spread", *["embedding_std_mean"] * reads_lengths]
    needed += ["diagonal_mean", "off_diagonal_rms"] * has_correlations
    if any(row.get(name) is None for name in needed):
        return {}
    signs = {}
    if row["embedding_spread"] < SPREAD:
        signs["full"] = ("embedding_spread", row["embedding_spread"])
    elif reads_lengths and row["embedding_std_mean"] < SPREAD:
        signs["shrinking"] = ("embedding_std_mean", row["embedding_std_mean"])
    if has_correlations:
        diagonal = row["diagonal_mean"]
        if diagonal < DIAGONAL:
            signs["diagonal"] = ("diagonal_mean", diagonal)
        elif row["off_diagonal_rms"] > RATIO * diagonal:
            signs["dimensional"] = ("off_diagonal_rms", row["off_diagonal_rms"])
    return signs


def remedy(sign: str, objective: str) -> str:
    """Return a sentence with the keys that help against a sign of collapse of this method."""
    if sign in ("full", "shrinking"):
        own = method_facts(objective).if_collapsed
        advice = f"{own}; or " if own else ""
        return f"Use {advice}a lower --config.optim.learning_rate or --config.optim.weight_decay."
    if sign == "diagonal":
        return (
            "Check the views (show-views), --config.objective.barlow_twins.invariance_weight and "
            "--config.optim.learning_rate."
        )
    return "Use a larger --config.objective.barlow_twins.off_diagonal_weight."


class CollapseWarner:
    """Warner that checks rows of metrics, and warns of each sign once per start."""

    def __init__(self, config: Mapping[str, Any], steps_per_epoch: int):
        """Take a config with flat keys; no warning appears in the warm-up and the first epoch."""
        self._config = config
        self._first_step = max(1.0, config["optim.warmup_epochs"]) * steps_per_epoch
        # Consecutive rows by sign; stays at or above the limit once reached.
        self._num_rows: dict[str, int] = {}

    def __call__(self, step: int, row: Mapping[str, float]) -> list[str]:
        """Return the warnings that are due at this row."""
        signs = collapse_signs(row, self._config)
        if step < self._first_step or "embedding_spread" not in row:
            return []
        warned = {name: count for name, count in self._num_rows.items() if count >= PERSISTENT_ROWS}
        self._num_rows = warned | {name: self._num_rows.get(name, 0) + 1 for name in signs}
        return [
            f"{finding(sign, metric, value, row)}. {remedy(sign, self._config['objective.name'])}"
            for sign, (metric, value) in signs.items()
            if self._num_rows[sign] == PERSISTENT_ROWS
        ]
