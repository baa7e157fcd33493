"""Retrieval between two tables of embeddings: R@K, the share of queries with a right candidate among the first K.

Candidates are ranked by their similarity to the query. Those of equal similarity have no order: R@K then is the mean
over all their orders. Of r right and w wrong ones that tie for the place after m wrong ones before them, the query has
none of the right in the first K with the probability

    prod_{i < K - m} (w - i) / (w + r - i)

so that embeddings which are all one vector get what chance gives, and nobody gains by the order of the table.
"""

from collections.abc import Sequence

import numpy as np

_CHUNK = 256  # queries at once: [chunk, M] float64
# Similarities closer than this, relative to the product of the norms, are equal: rounding is no preference.
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
    """R@K in 0..1 for each K.

    Args:
      queries: `[Q, D]` embeddings.
      candidates: `[M, D]` embeddings.
      query_ids: `[Q]`; a candidate is right for a query if their ids are equal.
      candidate_ids: `[M]`.
      ks: the K.
      cosine: ranks by cosine similarity, otherwise by the dot product.

    Raises:
      ValueError: shapes do not fit, embeddings are not finite, or a query has no right candidate.

    >>> z = np.eye(3)
    >>> recall(z, z[[1, 0, 2]], query_ids=np.arange(3), candidate_ids=np.arange(3), ks=(1, 2))
    {1: 0.3333333333333333, 2: 0.6666666666666666}
    """
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(f"expected [Q, D] and [M, D] embeddings, got {queries.shape} and {candidates.shape}")
    if query_ids.shape != queries.shape[:1] or candidate_ids.shape != candidates.shape[:1]:
        raise ValueError(f"expected one id a row, got {query_ids.shape} and {candidate_ids.shape}")
    if not np.isin(query_ids, candidate_ids).all():
        raise ValueError("every query needs a right candidate")
    if not (np.isfinite(queries).all() and np.isfinite(candidates).all()):
        raise ValueError("embeddings must be finite")
    queries, candidates = _prepared(queries, cosine), _prepared(candidates, cosine)
    longest = np.linalg.norm(candidates, axis=1).max()
    found = np.zeros(len(ks))
    for start in range(0, len(queries), _CHUNK):
        rows = queries[start : start + _CHUNK]
        right = query_ids[start : start + _CHUNK, np.newaxis] == candidate_ids
        found += _found(rows @ candidates.T, right, _EQUAL * longest * np.linalg.norm(rows, axis=1), ks)
    return {k: float(share) for k, share in zip(ks, found / len(queries), strict=True)}


def chance(query_ids: np.ndarray, candidate_ids: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """R@K of an order at random: what embeddings get that say nothing."""
    blank = np.ones((len(query_ids), 1)), np.ones((len(candidate_ids), 1))
    return recall(*blank, query_ids=query_ids, candidate_ids=candidate_ids, ks=ks)


def _prepared(rows: np.ndarray, cosine: bool) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) if cosine else rows


def _found(similarities: np.ndarray, right: np.ndarray, equal: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Sums over the queries `[n, M]` of the probability that one is found, for each K."""
    best = np.max(similarities, axis=1, where=right, initial=-np.inf)[:, np.newaxis]
    ties = np.abs(similarities - best) <= equal[:, np.newaxis]
    before = np.sum((similarities > best) & ~ties, axis=1)
    wrong, both = np.sum(ties & ~right, axis=1), np.sum(ties, axis=1)
    missed, sums = np.ones(len(best)), {}
    for place in range(max(ks)):
        drawn = place - before  # of those that tie
        left = np.where(drawn >= 0, (wrong - drawn) / np.maximum(both - drawn, 1), 1.0)
        missed = missed * np.clip(left, 0, 1)
        sums[place + 1] = np.sum(1 - missed)
    return np.array([sums[k] for k in ks])
