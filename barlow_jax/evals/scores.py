"""How well a classifier did."""

import numpy as np


def top_accuracies(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracies "top1" and "top5" in 0..1 of `[N, C]` logits; equal ones rank by their class."""
    top5 = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    hits = top5 == labels[:, np.newaxis]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}
