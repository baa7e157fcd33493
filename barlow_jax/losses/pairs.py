"""Losses of two views over more of them: the mean over all pairs.

V views of an image give V (V - 1) / 2 pairs instead of one, at V / 2 times the cost of the networks. What
depends on one view alone, such as a covariance or a Gram matrix, is computed once per view: the compiler
merges equal expressions.
"""

from collections.abc import Callable, Sequence
import itertools
from typing import TypeVar

import jax

T = TypeVar("T")


def mean_over_pairs(terms: Callable[[jax.Array, jax.Array], T], embeddings: Sequence[jax.Array]) -> T:
    """Return the mean, over all pairs of views in their order, of the scalars that `terms` returns.

    >>> z = [jax.numpy.full((1, 1), x) for x in (0.0, 1.0, 5.0)]
    >>> print(f"{mean_over_pairs(lambda a, b: (b - a)[0, 0], z):.3f}")
    3.333
    """
    results = [terms(a, b) for a, b in itertools.combinations(embeddings, 2)]
    if len(results) == 1:
        return results[0]
    return jax.tree.map(lambda *values: sum(values[1:], values[0]) / len(values), *results)
