"""Signs that embeddings carry nothing, in the rows of the metrics: said once each, when they last.

Thresholds, and where runs on the digits are, the quickstart and the methods' (step 100 on, seed 0):

    sign                                     threshold    healthy      collapsing
    embedding_spread                         < 0.05       0.3 and up   0 where all embeddings are one vector
    embedding_std_mean, of VICReg            < 0.05       0.28 and up  0 without the variance term: all become 0
    diagonal_mean                            < 0.1        0.4 and up   0.05 without the invariance term
    off_diagonal_rms / diagonal_mean         > 0.9        0.5          0.98 without redundancy reduction

A collapse goes on towards 0 ever more slowly: BYOL's without predictor and average is at 0.03 after 400 steps of the
digits' recipe; below a spread of 0.01 embeddings in bfloat16 have a few levels left. The last sign says that features
agree with each other as they do with themselves: all of them are one.
"""

from collections.abc import Iterator, Mapping

from barlow_jax.config import Config
from barlow_jax.methods import ADVICE, Advice

_SPREAD, _DIAGONAL, _RATIO = 0.05, 0.1, 0.9
# Rows of the metrics in a row, so that one unlucky batch is none.
_LASTS = 5


class Collapse:
    """Looks at rows; each sign is told once a start of the program."""

    def __init__(self, config: Config, steps_per_epoch: int):
        """Nothing is said before the warm-up is over, and one epoch at least."""
        settings = config.objective.barlow_twins
        # Elsewhere there is no C, or it is a covariance, or its sums are entropies.
        self._correlations = (
            config.objective.name == "barlow_twins"
            and settings.normalization == "batch"
            and settings.temperature is None
        )
        # Most losses do not change with the length of the embeddings.
        self._lengths = config.objective.name == "vicreg"
        self._advice = ADVICE.get(config.objective.name, Advice()).collapsed
        self._first_step = max(1.0, config.optim.warmup_epochs) * steps_per_epoch
        self._rows: dict[str, int] = {}  # that had the sign, in a row

    def __call__(self, step: int, row: Mapping[str, float]) -> list[str]:
        """The warnings that are due at this row."""
        if step < self._first_step or "embedding_spread" not in row:
            return []
        signs = dict(self._signs(row))
        self._rows = {name: self._rows.get(name, 0) + 1 for name in signs} | {
            name: count for name, count in self._rows.items() if count >= _LASTS and name not in signs
        }
        return [f"warning: {words}" for name, words in signs.items() if self._rows[name] == _LASTS]

    def _signs(self, row: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        name = "embedding_spread"
        if self._lengths and row["embedding_std_mean"] < row[name]:
            name = "embedding_std_mean"
        if row[name] < _SPREAD:
            yield (
                "spread",
                (
                    f"the embeddings have collapsed to one vector ({name} {row[name]:.2g}, healthy is near 1): "
                    f"{self._advice + '; or a' if self._advice else 'a'} lower --config.optim.learning_rate or "
                    "--config.optim.weight_decay"
                ),
            )
        if not self._correlations:
            return
        diagonal = row["diagonal_mean"]
        if diagonal < _DIAGONAL:
            yield (
                "diagonal",
                (
                    f"the two views of an image do not agree (diagonal_mean {diagonal:.2g}, 1 is perfect): see the views "
                    "(show-views), then --config.objective.barlow_twins.invariance_weight and --config.optim.learning_rate"
                ),
            )
        elif row["off_diagonal_rms"] > _RATIO * diagonal:
            yield (
                "rank",
                (
                    "all features of the embeddings are one and the same (off_diagonal_rms "
                    f"{row['off_diagonal_rms']:.2g}, diagonal_mean {diagonal:.2g}): a larger "
                    "--config.objective.barlow_twins.off_diagonal_weight"
                ),
            )
