"""Accuracies of a classifier and their means over class-balanced subsets of the labels; average precision."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.types import FeatureTable

# A linear classifier: {"weight": [H, C], "bias": [C]}.
Head = Mapping[str, jax.Array]

_CHUNK = 4096  # rows at once: a [chunk, C] matrix of logits
# A solver's own figures: their means stay as they are, everything else is an accuracy.
_SOLVER = ("iterations", "gradient")


def check_single_label(labels: np.ndarray) -> None:
    """Check that labels are `[N]`, not multi-label `[N, C]`.

    Raises:
      UserError: they are multi-label.
    """
    if labels.ndim != 1:
        raise UserError(multi_label_message("this data set", labels.shape[1]))


def multi_label_message(subject: str, num_classes: int) -> str:
    """Return the error message for multi-label data where one label per image is needed."""
    return (
        f"{subject} is multi-label ({num_classes} classes), but k-NN, the linear probe and fine-tuning need "
        "one label per image. Measure it by `transfer` with classifier svm."
    )


def logits(head: Head, features: jax.Array) -> jax.Array:
    """Return `[N, C]` logits of `[N, H]` features, every product in float32."""
    return jnp.matmul(features, head["weight"], precision="highest") + head["bias"][jnp.newaxis]


def make_accuracy(test: FeatureTable) -> Callable[[Head], dict[str, float]]:
    """Return `head -> {"top1": ..., "top5": ..., "balanced_accuracy": ...}` in 0..1 on a table.

    The table is copied to the device once. Equal logits rank by class, the smaller first; a logit that is not
    a number ranks last. With five classes or fewer every label is among the first five: top5 is left out.
    """
    rows = on_device(test)
    return lambda head: from_ranks(test.labels, ranks(head, *rows), head["bias"].size)


def on_device(test: FeatureTable) -> tuple[jax.Array, jax.Array]:
    """Return `[chunks, n, H]` features and `[chunks, n]` labels of a table on the device, padded."""
    check_single_label(test.labels)
    rows = len(test.labels)
    chunks = max(1, -(-rows // _CHUNK))
    size = -(-rows // chunks)
    pad = chunks * size - rows
    features = np.pad(test.features, ((0, pad), (0, 0))).reshape(chunks, size, -1)
    labels = np.pad(test.labels, (0, pad)).reshape(chunks, size)
    return jax.device_put((features.astype(np.float32), labels))


def from_ranks(labels: np.ndarray, ranks: jax.Array, num_classes: int) -> dict[str, float]:
    """Return the accuracies of `make_accuracy` from `[N]` labels and their ranks, `[chunks, n]`."""
    ranks = np.asarray(ranks).ravel()[: len(labels)]
    result = hit_rates(labels, ranks < 1)
    if num_classes > 5:
        result["top5"] = float(np.sum(ranks < 5) / len(labels))
    return result


def hit_rates(labels: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    """Return top1, the mean of `[N]` hits, and balanced_accuracy, their mean per class averaged over classes.

    Both are in 0..1. Only classes that occur in `[N]` labels count.

    >>> hit_rates(np.array([0, 0, 0, 2]), np.array([True, True, True, False]))
    {'top1': 0.75, 'balanced_accuracy': 0.5}
    """
    counts = np.bincount(labels)
    recalls = np.bincount(labels, weights=hits)[counts > 0] / counts[counts > 0]
    return {"top1": float(np.sum(hits) / len(labels)), "balanced_accuracy": float(np.mean(recalls))}


@jax.jit
def ranks(head: Head, features: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the rank of each row's label among its logits, from 0; labels without a logit rank last."""

    def rank_chunk(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        features, labels = rows
        scores, classes = logits(head, features), jnp.arange(head["bias"].size)[jnp.newaxis]
        label = labels[:, jnp.newaxis]
        own = jnp.take_along_axis(scores, jnp.minimum(label, classes.size - 1), axis=1)
        # Counting the logits below the label's ranks the label last if its logit is not a number.
        below = jnp.sum((scores < own) | ((scores == own) & (classes > label)), axis=1)
        return jnp.where(labels < classes.size, classes.size - 1 - below, jnp.iinfo(jnp.int32).max)

    return jax.lax.map(rank_chunk, (features, labels))


def average_precision(
    positive: np.ndarray, scores: np.ndarray, method: Literal["interpolated", "eleven_point"]
) -> float:
    """Return the average precision, in 0..1, of the ranking by falling score; equal scores rank together.

    With P(t) and R(t) the precision and recall of the rows that score t or more, and
    p(r) = max of P(t) where R(t) >= r,
      interpolated: the integral of p over r in 0..1 (VOC from 2010 on; VISSL);
      eleven_point: the mean of p at r = 0, 0.1 ... 1 (VOC07: Everingham et al. 2010).

    Args:
      positive: `[N]` bool, one or more of them true.
      scores: `[N]`; a higher score is a more confident positive.
      method: which of the two.

    Raises:
      ValueError: there is no positive, or a score is not finite.
    """
    if not positive.any():
        raise ValueError("average precision needs one or more positives")
    if not np.isfinite(scores).all():
        raise ValueError("average precision needs finite scores")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    precision = np.maximum.accumulate((hits / (ends + 1))[::-1])[::-1]
    if method == "interpolated":
        return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])
    # Integers are exact: the float product 3 * 0.1 is above 0.3.
    reached = [hits * 10 >= tenth * hits[-1] for tenth in range(11)]
    return float(np.mean([precision[np.argmax(at_recall)] for at_recall in reached]))


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
