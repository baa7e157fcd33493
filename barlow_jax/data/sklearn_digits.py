"""scikit-learn's handwritten digits in NumPy: 8x8 pixels of 17 grey levels, scaled to 0..255.

Four fifths of each class are the training split, the rest is the test split.
"""

from typing import NamedTuple

import numpy as np

NUM_IMAGES = {"train": 1437, "test": 360}


class DigitImages(NamedTuple):
    """Images and labels of a split."""

    pixels: np.ndarray  # [N, 8, 8] uint8
    labels: np.ndarray  # [N] int64
    index: np.ndarray  # [N] row numbers in scikit-learn's table, ascending


def read() -> dict[str, DigitImages]:
    """Read both splits: `train` and `test`."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    rows = np.arange(len(digits.target))
    parts = train_test_split(rows, test_size=NUM_IMAGES["test"], stratify=digits.target, random_state=0)
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    index = {name: np.sort(part) for name, part in zip(NUM_IMAGES, parts, strict=True)}
    return {name: DigitImages(pixels[i], digits.target[i], i) for name, i in index.items()}
