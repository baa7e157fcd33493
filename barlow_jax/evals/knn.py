"""k-nearest-neighbor classification with weighted cosine or uniform Euclidean votes.

Weighted (Wu et al. 2018, section 3.4):
  score(c) = sum over the k nearest training features i of class c of exp(cos(f, f_i) / temperature)
Euclidean (Ermolov et al. 2021, table 1): the most frequent class of the k nearest raw features.

Among classes of equal score the smallest wins; among training rows of equal distance the first counts.
scikit-learn's KNeighborsClassifier does the same for classes and leaves the order of rows undefined.
"""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config.schema import Config
from barlow_jax.evals.accuracy import accuracy_by_fraction, check_single_label, hit_rates
from barlow_jax.papers.scores import Score
from barlow_jax.types import FeatureTable

_CHUNK = 1024  # queries at once: a [chunk, N] matrix of similarities
_CANDIDATES = 4  # per neighbor; their Euclidean distances are computed a second time


def knn(config: Config, train: FeatureTable, test: FeatureTable) -> list[Score]:
    """Return the accuracies of the k-NN classifiers of `config.knn` for each fraction of the labels.

    Uniform Euclidean votes, as in W-MSE's table, are measured with all labels only: with fewer labels than k
    per class, they would mostly count ties.
    """
    settings = config.knn

    def measure(rows: np.ndarray, seed: int) -> dict[tuple[str, int, str], float]:
        del seed  # only the subset depends on it
        subset = FeatureTable(train.features[rows], train.labels[rows])
        queries = test if test.own is None else test._replace(own=_within(rows, test.own))
        weighted = knn_accuracy(subset, queries, ks=settings.k, temperature=settings.temperature)
        uniform = {}
        if settings.euclidean_k and len(rows) == len(train.labels):
            uniform = knn_accuracy(subset, queries, ks=settings.euclidean_k, temperature=None)
        return {
            (distance, k, metric): value
            for distance, by_k in (("cosine", weighted), ("euclidean", uniform))
            for k, values in by_k.items()
            for metric, value in values.items()
        }

    results = accuracy_by_fraction(train.labels, settings.label_fractions, settings.subset_repeats, measure)
    measured_on = (config.data.name, config.data.eval_split, len(test.labels))
    return [
        Score("knn", "knn", metric, value, *measured_on, fraction, repeats, k=k, distance=distance)
        for fraction, repeats, values in results
        for (distance, k, metric), value in values.items()
    ]


def _within(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the positions of `own` in the sorted `rows`; -1 for those that are not among them."""
    position = np.minimum(np.searchsorted(rows, own), len(rows) - 1)
    return np.where(rows[position] == own, position, -1)


def knn_accuracy(
    train: FeatureTable, test: FeatureTable, *, ks: Sequence[int], temperature: float | None = 0.07
) -> dict[int, dict[str, float]]:
    """Return top1 and balanced_accuracy in 0..1 for each k; the arguments are those of `knn_hits`."""
    hits = knn_hits(train, test, ks=ks, temperature=temperature)
    return {k: hit_rates(test.labels, row) for k, row in zip(ks, hits, strict=True)}


def knn_hits(
    train: FeatureTable, test: FeatureTable, *, ks: Sequence[int], temperature: float | None = 0.07
) -> np.ndarray:
    """Return `[len(ks), N]` whether the votes classify each row of `test` correctly.

    Args:
      train: rows that vote, with `[N]` labels; all of them vote if k is larger than N.
      test: rows to classify. The training row of the same image (`own`) does not vote.
      ks: numbers of neighbors.
      temperature: of weighted cosine votes; a lower one gives near neighbors more weight. None: uniform
        Euclidean votes. The mean of the training rows is then subtracted first, in float64: distances stay
        the same, and float32 is more precise near 0.
    """
    for table in (train, test):
        check_single_label(table.labels)
    mean = train.features.mean(axis=0, dtype=np.float64) if temperature is None else None

    def prepare(features: np.ndarray) -> jax.Array:
        if mean is None:
            return _unit(features)
        # NumPy casts to float64 in small buffers: ImageNet's table would not fit in memory as float64.
        out = np.empty(features.shape, np.float32)
        return jnp.asarray(np.subtract(features, mean, out=out, casting="same_kind"))

    bank, labels = prepare(train.features), jnp.asarray(train.labels)
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    limits = tuple(min(k, len(labels)) for k in ks)
    votes = []
    for start in range(0, len(test.labels), _CHUNK):
        rows = slice(start, start + _CHUNK)
        queries = prepare(test.features[rows])
        own = None if test.own is None else jnp.asarray(test.own[rows])
        fixed = {"limits": limits, "temperature": temperature, "num_classes": num_classes}
        votes.append(np.asarray(_vote(bank, labels, queries, own, **fixed)))
    return np.concatenate(votes, axis=1) == test.labels


@functools.partial(jax.jit, static_argnames=("limits", "temperature", "num_classes"))
def _vote(bank, labels, queries, own, *, limits, temperature, num_classes) -> jax.Array:
    """Return `[len(limits), Q]` classes of `[Q, H]` queries from a bank `[N, H]`.

    With a temperature, rows are unit vectors and votes are weighted; without, distances are Euclidean. `own`
    is None, or `[Q]` rows of the bank that do not vote for their query; -1 = none.
    """
    count = min(max(limits) + (own is not None), len(bank))
    if temperature is None:
        index = _nearest_by_distance(bank, queries, count)
        nearest = jnp.zeros(index.shape)
    else:
        similarities = jnp.matmul(queries, bank.T, precision="highest")
        # Without the barrier XLA fuses the slices below into top_k and sorts all N: 12 s per chunk, not 0.5.
        nearest, index = jax.lax.optimization_barrier(jax.lax.top_k(similarities, count))
    if own is not None:  # moved behind the others, of which there are enough
        is_own = index == own[:, jnp.newaxis]
        order = jnp.argsort(is_own, axis=1, stable=True)
        nearest, index = (jnp.take_along_axis(x, order, axis=1) for x in (nearest, index))
    # Subtracting the largest changes no vote and keeps exp() from overflowing at small temperatures.
    weights = jnp.exp((nearest - nearest[:, :1]) / (temperature or 1.0))
    if own is not None:
        weights = jnp.where(jnp.sort(is_own, axis=1), 0, weights)
    classes = labels[index]
    rows = jnp.arange(len(queries))[:, jnp.newaxis]
    scores = [
        jnp.zeros((len(queries), num_classes)).at[rows, classes[:, :k]].add(weights[:, :k]) for k in limits
    ]
    return jnp.stack([jnp.argmax(score, axis=1) for score in scores])


def _nearest_by_distance(bank: jax.Array, queries: jax.Array, count: int) -> jax.Array:
    """Return the `[Q, count]` nearest rows of the bank, nearest first.

    |q - b|^2 = |q|^2 - 2 c with the closeness c = q b - |b|^2 / 2. The matrix product for c is fast, but it
    cancels digits, so it only selects candidates; exact differences choose among them. If the rounding error
    could have excluded a nearer row, the query is compared with all rows by differences.
    """
    num_candidates = min(_CANDIDATES * count, len(bank))
    squares = jnp.sum(bank**2, axis=1)
    closeness = jnp.matmul(queries, bank.T, precision="highest") - squares[jnp.newaxis] / 2
    candidates = jax.lax.top_k(closeness, num_candidates)[1]
    max_norm = jnp.sqrt(jnp.max(squares))
    # Error of a sum of H products, relative to the norms of its factors.
    rounding = (bank.shape[1] + 2) * jnp.finfo(bank.dtype).eps

    def choose(query: jax.Array, candidates: jax.Array) -> jax.Array:
        def by_differences(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.lax.top_k(-jnp.sum((rows - query[jnp.newaxis]) ** 2, axis=1), count)

        in_order = jnp.sort(candidates)  # so that the first of several rows at equal distance is chosen
        negative_squares, position = by_differences(bank[in_order])
        # The computed closeness of every other row is at most that of the last candidate.
        error = rounding * max_norm * (jnp.linalg.norm(query) + max_norm / 2)
        lower_bound = jnp.sum((bank[candidates[-1]] - query) ** 2) - 4 * error
        return jax.lax.cond(
            (-negative_squares[-1] < lower_bound) | (num_candidates == len(bank)),
            lambda: in_order[position],
            lambda: by_differences(bank)[1],
        )

    return jax.lax.map(lambda pair: choose(*pair), (queries, candidates))


def _unit(features: np.ndarray) -> jax.Array:
    features = jnp.asarray(features, jnp.float32)
    return features / jnp.maximum(jnp.linalg.norm(features, axis=1, keepdims=True), 1e-12)
