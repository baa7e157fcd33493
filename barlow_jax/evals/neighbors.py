"""The nearest rows of a table of features, by cosine similarity."""

import numpy as np


def nearest(
    queries: np.ndarray, features: np.ndarray, k: int, *, itself: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines, each `[Q, min(k, N)]`, the nearest first; of equal ones the first row.

    A row of zeros has cosine 0 with all.

    Args:
      queries: `[Q, H]`, few: a `[Q, N]` table is sorted.
      features: `[N, H]`.
      k: neighbours of each.
      itself: `[Q]` rows that the queries are, and that are no neighbours of theirs; others with the same features are.

    >>> rows, cosines = nearest(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), 2)
    >>> rows.tolist(), cosines.tolist()
    ([[0, 2]], [[1.0, 0.6]])
    """
    one, other = (np.sqrt(np.einsum("nh,nh->n", x, x)) for x in (queries, features))  # no copy of the table
    lengths = np.maximum(one[:, np.newaxis] * other, np.finfo(features.dtype).tiny)
    cosines = queries @ features.T / lengths
    others = len(features)
    if itself is not None:
        cosines[np.arange(len(queries)), itself] = -np.inf
        others -= 1
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, others)]
    return rows, np.take_along_axis(cosines, rows, axis=1)
