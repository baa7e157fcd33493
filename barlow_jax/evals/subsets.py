"""Fixed, class-balanced subsets of the training labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from barlow_jax.evals.scores import check_one_label_each

# What a measurement says beside its accuracies: means of these stay as they are.
_WORK = ("iterations", "gradient")


def label_subset(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Sorted indices of the same share of every class, at least one each; all of them at fraction 1.

    Args:
      labels: `[N]` class of each training example; UserError where examples have several.
      fraction: in 0..1.
      seed: the same seed gives the same subset.
    """
    check_one_label_each(labels)
    if fraction >= 1:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[: max(1, round(fraction * np.sum(labels == label)))]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def accuracy_by_fraction(
    labels: np.ndarray,
    fractions: Sequence[float],
    subset_repeats: int,
    measure: Callable[[np.ndarray, int], Mapping[str, float]],
) -> dict[str, dict[str, float]]:
    """What `measure(rows, draw)` gives, in percent, by fraction; below 1 the mean over fixed subsets.

    Args:
      labels: `[N]` class of each training example.
      fractions: of the labels, each in 0..1.
      subset_repeats: how many subsets a fraction below 1 is the mean of.
      measure: accuracies in 0..1 with the given rows of the training examples; and, as they are, the
        "iterations" and "gradient" of a solver.
    """
    results = {}
    for fraction in fractions:
        draws = range(subset_repeats if fraction < 1 else 1)
        scores = [measure(label_subset(labels, fraction, seed=draw), draw) for draw in draws]
        means = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
        results[f"{fraction:g}"] = {
            name: mean if name in _WORK else round(100 * mean, 2) for name, mean in means.items()
        }
    return results
