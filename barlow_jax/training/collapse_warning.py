"""Warnings about collapsed embeddings, by the signs in `diagnostics.py`."""

from collections.abc import Iterator, Mapping

from barlow_jax.config.methods import METHODS, Method
from barlow_jax.config.schema import Config
from barlow_jax.training import diagnostics

# Consecutive rows with a sign before the warning, so that one unlucky batch causes none.
_MIN_ROWS = 5


class CollapseWarner:
    """Warner that checks rows of metrics, and warns of each sign once per start."""

    def __init__(self, config: Config, steps_per_epoch: int):
        """Set the criteria; no warning appears before the end of the warm-up, and within the first epoch."""
        settings = config.objective.barlow_twins
        self._criteria = diagnostics.CollapseCriteria.for_objective(
            config.objective.name, settings.normalization, settings.temperature
        )
        self._objective = config.objective.name
        self._first_step = max(1.0, config.optim.warmup_epochs) * steps_per_epoch
        self._num_rows: dict[
            str, int
        ] = {}  # consecutive rows by sign; stays at or above the limit once reached

    def __call__(self, step: int, row: Mapping[str, float]) -> list[str]:
        """Return the warnings that are due at this row."""
        if step < self._first_step or "embedding_spread" not in row:
            return []
        messages = dict(self._messages(row))
        warned = {name: count for name, count in self._num_rows.items() if count >= _MIN_ROWS}
        self._num_rows = warned | {name: self._num_rows.get(name, 0) + 1 for name in messages}
        return [message for name, message in messages.items() if self._num_rows[name] == _MIN_ROWS]

    def _messages(self, row: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        for sign, (name, value) in self._criteria.signs(row).items():
            yield sign, f"{diagnostics.finding(sign, name, value, row)}. {remedy(sign, self._objective)}"


def remedy(sign: str, objective: str) -> str:
    """Return a sentence with the keys that help against a sign of collapse of this method."""
    if sign in ("full", "shrinking"):
        own = METHODS.get(objective, Method(objective)).if_collapsed
        advice = f"{own}; or " if own else ""
        return f"Use {advice}a lower --config.optim.learning_rate or --config.optim.weight_decay."
    if sign == "diagonal":
        return (
            "Check the views (show-views), --config.objective.barlow_twins.invariance_weight and "
            "--config.optim.learning_rate."
        )
    return "Use a larger --config.objective.barlow_twins.off_diagonal_weight."
