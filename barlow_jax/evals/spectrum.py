"""Effective rank and spectrum: how many directions the features use."""

from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Principal components of centered `[N, D]` features."""

    # [min(N - 1, D)] eigenvalues of the covariance as fractions of their sum, largest first; all 0 if all
    # features are one vector.
    variance_fractions: np.ndarray
    # exp of the entropy of the singular values as fractions of their sum (Roy and Vetterli 2007; RankMe,
    # Garrido et al. 2023): 1 if all features lie on one line, min(N, D) if they fill all directions equally.
    effective_rank: float


def spectrum(features: np.ndarray) -> Spectrum:
    """Return the spectrum of `[N, D]` features, N >= 2, from one singular value decomposition in float64."""
    centered = features.astype(np.float64)
    centered = centered - centered.mean(axis=0)
    values = np.linalg.svd(centered, compute_uv=False)
    kept = values[: len(features) - 1]  # centered rows span one direction less
    if values[0] <= 1e-12 * max(1.0, np.abs(features).max()):
        return Spectrum(np.zeros_like(kept), 1.0)  # all features are one vector
    fractions = values / values.sum()
    fractions = fractions[fractions > 0]
    rank = float(np.exp(-np.sum(fractions * np.log(fractions))))
    return Spectrum(kept**2 / np.sum(kept**2), rank)
