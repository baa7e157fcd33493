"""R@K of retrieval between two tables of embeddings: the fraction of queries with a match in the first K.

Candidates are ranked by similarity to the query. Candidates of equal similarity have no order, so R@K is the
mean over all of their orders. If m wrong candidates come first, followed by a tie of r right and w wrong
ones, no right candidate is among the first K with the probability

    prod_{i < K - m} (w - i) / (w + r - i)

Embeddings that are all one vector therefore get chance, and the order of the table does not matter.
"""

from collections.abc import Sequence

import numpy as np

_CHUNK = 256  # queries at once: [chunk, M] float64
# Similarities closer than this, relative to the product of the norms, differ by rounding only: they tie.
_EQUAL = 1e-9


def recall(
    queries: np.ndarray,
    candidates: np.ndarray,
    *,
    query_ids: np.ndarray,
    candidate_ids: np.ndarray,
    ks: Sequence[int],
    cosine: bool = True,
) -> dict[int, float]:
    """Return R@K in 0..1 for each K.

    Args:
      queries: `[Q, D]` embeddings.
      candidates: `[M, D]` embeddings.
      query_ids: `[Q]`; a candidate matches a query if their ids are equal.
      candidate_ids: `[M]`.
      ks: values of K.
      cosine: rank by cosine similarity; otherwise by the dot product.

    Raises:
      ValueError: shapes do not fit, embeddings are not finite, or a query has no match.

    >>> z = np.eye(3)
    >>> recall(z, z[[1, 0, 2]], query_ids=np.arange(3), candidate_ids=np.arange(3), ks=(1, 2))
    {1: 0.3333333333333333, 2: 0.6666666666666666}
    """
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(f"expected [Q, D] and [M, D] embeddings, got {queries.shape} and {candidates.shape}")
    if query_ids.shape != queries.shape[:1] or candidate_ids.shape != candidates.shape[:1]:
        raise ValueError(f"expected one id per row, got {query_ids.shape} and {candidate_ids.shape}")
    if not np.isin(query_ids, candidate_ids).all():
        raise ValueError("every query needs a matching candidate")
    if not (np.isfinite(queries).all() and np.isfinite(candidates).all()):
        raise ValueError("embeddings must be finite")
    queries, candidates = _prepare(queries, cosine), _prepare(candidates, cosine)
    max_norm = np.linalg.norm(candidates, axis=1).max()
    hits = np.zeros(len(ks))
    for start in range(0, len(queries), _CHUNK):
        rows = queries[start : start + _CHUNK]
        matches = query_ids[start : start + _CHUNK, np.newaxis] == candidate_ids
        tolerance = _EQUAL * max_norm * np.linalg.norm(rows, axis=1)
        hits += _expected_hits(rows @ candidates.T, matches, tolerance, ks)
    return {k: float(recall) for k, recall in zip(ks, hits / len(queries), strict=True)}


def _prepare(rows: np.ndarray, cosine: bool) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) if cosine else rows


def _expected_hits(
    similarities: np.ndarray, matches: np.ndarray, tolerance: np.ndarray, ks: Sequence[int]
) -> np.ndarray:
    """Sum over `[n, M]` queries the probability of a match among the first K, for each K."""
    best = np.max(similarities, axis=1, where=matches, initial=-np.inf)[:, np.newaxis]
    ties = np.abs(similarities - best) <= tolerance[:, np.newaxis]
    before = np.sum((similarities > best) & ~ties, axis=1)
    wrong, tied = np.sum(ties & ~matches, axis=1), np.sum(ties, axis=1)
    missed, sums = np.ones(len(best)), {}
    for rank in range(max(ks)):
        drawn = rank - before  # tied candidates that rank before this one
        factor = np.where(drawn >= 0, (wrong - drawn) / np.maximum(tied - drawn, 1), 1.0)
        missed = missed * np.clip(factor, 0, 1)
        sums[rank + 1] = np.sum(1 - missed)
    return np.array([sums[k] for k in ks])
