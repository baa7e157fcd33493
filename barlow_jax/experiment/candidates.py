"""Candidates of continued pretraining, and whether one of them is better than the start.

A candidate interpolates the weights of the start and those of a step, current or averaged (WiSE-FT, Wortsman
et al. 2022, https://arxiv.org/abs/2109.01903), and BatchNorm's running statistics in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.checkpoints.restore import FOLDER
from barlow_jax.data import splits
from barlow_jax.evals import label_free
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.features import NotMeasurableError
from barlow_jax.evals.knn import knn_hits
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.fixed_views import FIRST_VIEW, FrozenNetwork, monitor_views
from barlow_jax.experiment.monitor import labeled_tables
from barlow_jax.experiment.run import Run
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.training import preemption
from barlow_jax.training.loop import Hook
from barlow_jax.types import Metrics, TrainState
from barlow_jax.workdir import selection

_ALPHAS = (0.25, 0.5, 0.75, 1.0)
# Standard errors below the mean gain that must still be a gain. Of candidates as good as the start, one in 44
# passes each score.
_ERRORS = 2.0
# Gain in neighborhoods recovered that shows that a path leads to better encoders, as a fraction of the
# start's (docs/adapting.md).
_LEAST_RECOVERED = 0.03
# (params, batch_stats) of an encoder -> [m, n], m scores for each of n held-out images
Scores = Callable[[Any, Any], np.ndarray]


class Candidate(NamedTuple):
    """Position of a candidate between the start and a step."""

    averaged: bool  # whether the averaged weights of the step are meant
    alpha: float  # fraction of the way

    def encoder(self, start: EncoderState, end: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return parameters and running statistics; `end` are those of the step."""
        trees = tuple({name: tree[name] for name in first} for first, tree in zip(start, end, strict=False))
        return jax.tree.map(lambda x, y: (1 - self.alpha) * x + self.alpha * y, start[:2], trees)


def gain(scores: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the mean gain of `[n]` scores over those of the start, and the mean less two standard errors.

    >>> mean, bound = gain(np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]))
    >>> print(f"{mean:.3f} {bound:.3f}")
    0.500 -0.077
    """
    difference = scores.astype(np.float64) - reference
    mean, error = np.mean(difference), np.std(difference, ddof=1) / len(difference) ** 0.5
    return float(mean), float(mean - _ERRORS * error)


def best_on_path(scores: Sequence[np.ndarray], reference: np.ndarray) -> tuple[int, tuple[float, float]]:
    """Return the index of the best candidate on the path from the start to some weights, and its `gain`.

    The best candidate is that with the largest lower bound of the gain in the first score. If there is a
    second score, it must confirm the path: some candidate's lower bound of the gain in it is more than 3 % of
    the start's mean. On a confirmed path, only candidates count whose second score is not below the start's.
    If the path is not confirmed, gains are those in the second score less these 3 %.

    Args:
      scores: `[m, n]` for each candidate, m of one or two scores of n images.
      reference: `[m, n]` scores of the start.
    """
    gains, counting = [gain(rows[0], reference[0]) for rows in scores], range(len(scores))
    if len(reference) == 2:
        second = [gain(rows[1], reference[1]) for rows in scores]
        least = _LEAST_RECOVERED * float(np.mean(reference[1], dtype=np.float64))
        if max(bound for _, bound in second) > least:
            counting = [i for i, (mean, _) in enumerate(second) if mean >= 0]
        else:
            gains = [(mean - least, bound - least) for mean, bound in second]
    best = max(counting, key=lambda i: gains[i][1])
    return best, gains[best]


def compare(run: Run, held_out: splits.Split, labeled: EvaluationData | None) -> Hook:
    """Return a hook that compares the candidates of a step with the start, and writes the best one's gain.

    The scores are k-NN accuracy if there are labels, else those of `_view_scores`.
    """
    experiment = run.experiment
    scores = _label_scores(experiment, labeled) if labeled else _view_scores(experiment, held_out)

    @functools.cache
    def read_and_measure_start() -> tuple[EncoderState, np.ndarray]:
        encoder = read_start(experiment, run.workdir)
        return encoder, scores(*encoder[:2])

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        start, reference = read_and_measure_start()
        ends = {False: (state.params, state.batch_stats)}
        ends |= {True: state.evaluated()} if state.average else {}
        rows = []
        try:
            for averaged, end in ends.items():
                path = [Candidate(averaged, alpha) for alpha in _ALPHAS]
                best, gains = best_on_path([scores(*x.encoder(start, end)) for x in path], reference)
                rows.append((*map(float, path[best]), *gains))
        except NotMeasurableError as error:
            log.warning(f"step {done}: no candidates: {error}")
            return
        names = ("adapt_averaged", "adapt_alpha", "adapt_gain", selection.ADAPTED)
        row = dict(zip(names, max(rows, key=lambda row: row[-1]), strict=True))
        run.writer.write(done, row)
        log.info(f"step {done}  best candidate: {describe(row)}")

    return hook


def describe(row: Mapping[str, Any]) -> str:
    """Return in words the gain of a row's best candidate, and where it lies."""
    weights = "averaged" if row["adapt_averaged"] else "current"
    return (
        f"{100 * row['adapt_gain']:+.2f} points (at least {100 * row['adapt_gain_lower']:+.2f}), "
        f"{row['adapt_alpha']:g} of the way to the {weights} weights"
    )


def read_start(experiment: Experiment, workdir: Path) -> EncoderState:
    """Return the encoder that a run started from, which its checkpoint of step 0 has."""
    return experiment.encoder_state(workdir / FOLDER / "0", PRETRAINED)


def _label_scores(experiment: Experiment, data: EvaluationData) -> Scores:
    """Return the function from an encoder to whether k-NN classifies each held-out image correctly."""
    tables, k = labeled_tables(experiment, data), experiment.config.monitor.k
    return lambda *trees: knn_hits(*tables(*trees), ks=(k,))


def _view_scores(experiment: Experiment, source: splits.Split) -> Scores:
    """Return the function from an encoder to two scores of held-out images in views of the recipe, `[2, n]`.

    The first one, how often views of an image find each other, rises in contrastive training by construction.
    The second one is how much of the start's own neighborhoods, those of its features averaged over the
    views, single views recover. The first encoder that the function gets is the start.
    """
    network = experiment.encoder_network
    without_heads = dataclasses.replace(experiment.config, network=network.config)
    encoder = dataclasses.replace(experiment, config=without_heads, network=network)
    frozen = FrozenNetwork(encoder, preemption.with_stop_points)
    views = functools.cache(lambda: monitor_views(experiment, source))
    neighbors: list[jax.Array] = []  # of the start

    def scores(*trees: Any) -> np.ndarray:
        outputs = [frozen.outputs(*trees, FIRST_VIEW, rows)[0] for rows in views().values()]
        features = jnp.stack(outputs, axis=1)
        if not neighbors:
            neighbors.append(label_free.mean_neighbors(features))
        found = label_free.view_retrieval(features), label_free.neighbor_recovery(features, neighbors[0])
        return np.stack(jax.device_get(found))

    return scores
