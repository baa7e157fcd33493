"""The nearest other rows of a table of features, by cosine similarity."""

import numpy as np


def nearest(features: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines, each `[Q, min(k, N - 1)]`, the nearest first; of equal ones the first row.

    A row is not its own neighbour; another one with the same features is. A row of zeros has cosine 0 with all.

    Args:
      features: `[N, H]`.
      queries: `[Q]` rows of them, few: a `[Q, N]` table is sorted.
      k: neighbours of each.

    >>> rows, cosines = nearest(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), np.array([0]), 2)
    >>> rows.tolist(), cosines.tolist()
    ([[2, 1]], [[0.6, 0.0]])
    """
    norms = np.sqrt(np.einsum("nh,nh->n", features, features))  # no copy of the table
    lengths = np.maximum(norms[queries, np.newaxis] * norms, np.finfo(features.dtype).tiny)
    cosines = features[queries] @ features.T / lengths
    cosines[np.arange(len(queries)), queries] = -np.inf
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, len(features) - 1)]
    return rows, np.take_along_axis(cosines, rows, axis=1)
