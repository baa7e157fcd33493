"""Fixed, class-balanced subsets of the training labels, and the mean accuracy over them."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from barlow_jax.evals.accuracy import check_single_label

# A solver's own figures: their means stay as they are, everything else is an accuracy.
_SOLVER = ("iterations", "gradient")


class FractionResult(NamedTuple):
    """Result of a classifier with a fraction of the labels."""

    label_fraction: float
    repeats: int  # subsets that the values are means over
    values: dict[Hashable, float]  # accuracies in percent by key; those of _SOLVER as they are


def label_subset(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return the sorted indices of a subset with the same fraction of every class, at least one image each.

    The same seed gives the same subset of `[N]` labels; a fraction of 1 or more gives all indices.
    Images without a label (-1) are in no subset.

    Raises:
      UserError: the labels are multi-label.
    """
    check_single_label(labels)
    if fraction >= 1:
        return np.flatnonzero(labels >= 0)
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[: max(1, round(fraction * np.sum(labels == label)))]
        for label in np.unique(labels[labels >= 0])
    ]
    return np.sort(np.concatenate(chosen))


def accuracy_by_fraction(
    labels: np.ndarray,
    fractions: Sequence[float],
    subset_repeats: int,
    measure: Callable[[np.ndarray, int], Mapping[Hashable, float]],
) -> list[FractionResult]:
    """Measure a classifier on each fraction of the labels; below 1, take the mean over fixed subsets.

    `measure(indices, seed)` trains on these of the `[N]` training examples. It returns accuracies in 0..1,
    and optionally "iterations" and "gradient" of a solver.
    """
    results = []
    for fraction in fractions:
        repeats = subset_repeats if fraction < 1 else 1
        measured = [measure(label_subset(labels, fraction, seed), seed) for seed in range(repeats)]
        means = {key: float(np.mean([values[key] for values in measured])) for key in measured[0]}
        values = {key: mean if key in _SOLVER else round(100 * mean, 2) for key, mean in means.items()}
        results.append(FractionResult(fraction, repeats, values))
    return results
