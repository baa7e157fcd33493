"""Nearest rows of a feature table by cosine similarity."""

import numpy as np


def nearest(
    queries: np.ndarray, features: np.ndarray, k: int, *, exclude: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return row indices and cosines, each `[Q, min(k, N)]`, nearest first; ties keep the order of the rows.

    A row of zeros has cosine 0 with every row.

    Args:
      queries: `[Q, H]`, few: a `[Q, N]` table is sorted.
      features: `[N, H]`.
      k: neighbors per query.
      exclude: `[Q]` one row per query that is not a neighbor, such as the query's own row; -1 = none. Other
        rows with the same features still are neighbors.

    >>> rows, cosines = nearest(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), 2)
    >>> rows.tolist(), cosines.tolist()
    ([[0, 2]], [[1.0, 0.6]])
    """
    query_norms, row_norms = (np.sqrt(np.einsum("nh,nh->n", x, x)) for x in (queries, features))  # no copy
    norms = np.maximum(query_norms[:, np.newaxis] * row_norms, np.finfo(features.dtype).tiny)
    cosines = queries @ features.T / norms
    num_candidates = len(features)
    if exclude is not None:
        excluded = np.flatnonzero(exclude >= 0)
        cosines[excluded, exclude[excluded]] = -np.inf
        num_candidates -= len(excluded) > 0
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, num_candidates)]
    return rows, np.take_along_axis(cosines, rows, axis=1)
