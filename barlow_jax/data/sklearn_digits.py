"""scikit-learn's handwritten digits in NumPy: 8x8 pixels of 17 grey levels, here as 0..255.

Four fifths of each class train, the rest tests.
"""

from typing import NamedTuple

import numpy as np

from barlow_jax.data.catalog import NUM_DIGITS


class Digits(NamedTuple):
    """A split."""

    levels: np.ndarray  # [N, 8, 8] uint8
    labels: np.ndarray  # [N] int64
    index: np.ndarray  # [N] places in scikit-learn's table, ascending


def read() -> dict[str, Digits]:
    """`train` and `test`."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    parts = train_test_split(
        np.arange(len(digits.target)),
        test_size=NUM_DIGITS["test"],
        stratify=digits.target,
        random_state=0,
    )
    levels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    rows = {name: np.sort(index) for name, index in zip(("train", "test"), parts, strict=True)}
    return {name: Digits(levels[index], digits.target[index], index) for name, index in rows.items()}
