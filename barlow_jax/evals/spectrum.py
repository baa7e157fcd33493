"""How many directions features really use."""

import numpy as np


def effective_rank(features: np.ndarray) -> float:
    """exp of the entropy of the singular values, as shares of their sum (Roy and Vetterli 2007; RankMe, Garrido et
    al. 2023): 1 where all `[N, D]` features, centred, lie on one line, min(N, D) where they fill all directions alike.
    """
    centred = features.astype(np.float64)
    centred = centred - centred.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    if values[0] <= 1e-12 * max(1.0, np.abs(features).max()):
        return 1.0  # one vector
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))
