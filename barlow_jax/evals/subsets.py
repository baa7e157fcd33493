"""Fixed, class-balanced subsets of the training labels."""

import numpy as np


def label_subset(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Sorted indices of the same share of every class, at least one each; all of them at fraction 1.

    Args:
      labels: `[N]` class of each training example.
      fraction: in 0..1.
      seed: the same seed gives the same subset.
    """
    if fraction >= 1:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[: max(1, round(fraction * np.sum(labels == label)))]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))
