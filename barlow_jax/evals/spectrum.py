"""How many directions features really use."""

from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Of `[N, D]` features, centred."""

    # [min(N - 1, D)] eigenvalues of their covariance as shares of the sum, from the largest on; 0 where all features
    # are one vector
    shares: np.ndarray
    # exp of the entropy of the singular values, as shares of their sum (Roy and Vetterli 2007; RankMe, Garrido et al.
    # 2023): 1 where all features lie on one line, min(N, D) where they fill all directions alike
    effective_rank: float


def spectrum(features: np.ndarray) -> Spectrum:
    """Of `[N, D]` features, N >= 2, by one singular value decomposition in float64."""
    centred = features.astype(np.float64)
    centred = centred - centred.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    kept = values[: len(features) - 1]  # centred rows span one direction less
    if values[0] <= 1e-12 * max(1.0, np.abs(features).max()):
        return Spectrum(np.zeros_like(kept), 1.0)  # one vector
    shares = values / values.sum()
    shares = shares[shares > 0]
    rank = float(np.exp(-np.sum(shares * np.log(shares))))
    return Spectrum(kept**2 / np.sum(kept**2), rank)


def effective_rank(features: np.ndarray) -> float:
    """`Spectrum.effective_rank` alone."""
    return spectrum(features).effective_rank
