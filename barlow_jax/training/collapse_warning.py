"""Warnings that embeddings carry nothing: each of the signs of `signs.py` said once, when it lasts."""

from collections.abc import Iterator, Mapping

from barlow_jax.config.methods import ADVICE, Advice
from barlow_jax.config.schema import Config
from barlow_jax.training import diagnostics

# Rows of the metrics in a row, so that one unlucky batch is none.
_LASTS = 5


class CollapseWarner:
    """Looks at rows; each sign is told once a start of the program."""

    def __init__(self, config: Config, steps_per_epoch: int):
        """Nothing is said before the warm-up is over, and one epoch at least."""
        settings = config.objective.barlow_twins
        self._seen_by = diagnostics.CollapseCriteria.of(
            config.objective.name, settings.normalization, settings.temperature
        )
        self._advice = ADVICE.get(config.objective.name, Advice()).collapsed
        self._first_step = max(1.0, config.optim.warmup_epochs) * steps_per_epoch
        self._rows: dict[str, int] = {}  # that had the sign, in a row

    def __call__(self, step: int, row: Mapping[str, float]) -> list[str]:
        """The warnings that are due at this row."""
        if step < self._first_step or "embedding_spread" not in row:
            return []
        there = dict(self._warnings(row))
        self._rows = {name: self._rows.get(name, 0) + 1 for name in there} | {
            name: count for name, count in self._rows.items() if count >= _LASTS and name not in there
        }
        return [f"warning: {words}" for name, words in there.items() if self._rows[name] == _LASTS]

    def _warnings(self, row: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        for sign, (name, value) in self._seen_by.signs(row).items():
            if sign == "spread":
                words = (
                    f"the embeddings have collapsed to one vector ({name} {value:.2g}, healthy is near 1): "
                    f"{self._advice + '; or a' if self._advice else 'a'} lower --config.optim.learning_rate or "
                    "--config.optim.weight_decay"
                )
            elif sign == "diagonal":
                words = (
                    f"the two views of an image do not agree ({name} {value:.2g}, 1 is perfect): see the views "
                    "(show-views), then --config.objective.barlow_twins.invariance_weight and --config.optim.learning_rate"
                )
            else:
                words = (
                    f"all features of the embeddings are one and the same ({name} {value:.2g}, diagonal_mean "
                    f"{row['diagonal_mean']:.2g}): a larger --config.objective.barlow_twins.off_diagonal_weight"
                )
            yield sign, words
