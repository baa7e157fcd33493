"""Weighted k-nearest-neighbour classification by cosine similarity (Wu et al. 2018, section 3.4).

score(c) = sum over the k nearest training features i of class c of exp(cos(f, f_i) / temperature)
"""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.types import FeatureTable

_CHUNK = 1024  # queries at once: a [chunk, N] matrix of similarities


def knn_accuracy(
    train: FeatureTable, test: FeatureTable, *, ks: Sequence[int], temperature: float = 0.07
) -> dict[int, float]:
    """Top-1 accuracy in 0..1 for each k; where k is above the number of training rows, all of them vote.

    Args:
      train: the rows that vote.
      test: the rows that are classified.
      ks: numbers of neighbours.
      temperature: of the vote's weights.
    """
    bank, labels = _unit(train.features), jnp.asarray(train.labels)
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    limits = tuple(min(k, len(labels)) for k in ks)
    correct = np.zeros(len(limits))
    for start in range(0, len(test.labels), _CHUNK):
        queries = _unit(test.features[start : start + _CHUNK])
        votes = _vote(bank, labels, queries, limits=limits, temperature=temperature, num_classes=num_classes)
        correct += np.sum(np.asarray(votes) == test.labels[start : start + _CHUNK], axis=1)
    return {k: float(c / len(test.labels)) for k, c in zip(ks, correct, strict=True)}


@functools.partial(jax.jit, static_argnames=("limits", "temperature", "num_classes"))
def _vote(bank, labels, queries, *, limits, temperature, num_classes) -> jax.Array:
    """Classes `[len(limits), Q]` of unit queries `[Q, H]` by a unit bank `[N, H]`."""
    similarities = jnp.matmul(queries, bank.T, precision="highest")
    nearest, index = jax.lax.top_k(similarities, max(limits))
    # Less the largest, which changes no vote and keeps exp() from overflowing at small temperatures.
    weights = jnp.exp((nearest - nearest[:, :1]) / temperature)
    classes = labels[index]
    rows = jnp.arange(len(queries))[:, jnp.newaxis]
    scores = [
        jnp.zeros((len(queries), num_classes)).at[rows, classes[:, :k]].add(weights[:, :k]) for k in limits
    ]
    return jnp.stack([jnp.argmax(score, axis=1) for score in scores])


def _unit(features: np.ndarray) -> jax.Array:
    features = jnp.asarray(features, jnp.float32)
    return features / jnp.maximum(jnp.linalg.norm(features, axis=1, keepdims=True), 1e-12)
