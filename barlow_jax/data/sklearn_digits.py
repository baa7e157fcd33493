"""scikit-learn's 1 797 handwritten digits, 8x8 pixels of 17 grey levels scaled to 0..255.

Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998). Four fifths of each class are the
training split, the rest is the test split.
"""

import hashlib

import numpy as np

from barlow_jax.data.image_sources import SPLIT, Source

CAPTIONED = "captioned_digits"
NAMES = ("digits", CAPTIONED)
NUM_IMAGES = {"train": 1437, "test": 360}


def open_source(name: str) -> Source:
    """Open both splits; the name of an image is its split and its row number in scikit-learn's table.

    The captioned digits are in the order of the table, the others in a fixed random order.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    parts = train_test_split(
        np.arange(len(pixels)), test_size=NUM_IMAGES["test"], stratify=digits.target, random_state=0
    )
    names = []
    for split, part in zip(NUM_IMAGES, parts, strict=True):
        rows = sorted(part.tolist())
        if name != CAPTIONED:
            rows.sort(key=lambda row, split=split: hashlib.md5(f"{split}{row}".encode()).digest())
        names += [f"{split}/{row}" for row in rows]
    rows = [int(text.partition("/")[2]) for text in names]
    columns = {SPLIT: [text.partition("/")[0] for text in names], "label": digits.target[rows].tolist()}
    return Source(names, pixels[rows].__getitem__, [pixels[0].size] * len(rows), columns, is_ordered=True)
