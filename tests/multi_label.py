"""A small multi-label data set for the tests: digits of scikit-learn, colored, in a grid.

Importing this module registers it with TFDS as "multi_digits".
"""

import numpy as np
import tensorflow_datasets as tfds

CLASSES = ("zero", "one", "four", "seven", "eight")  # of the digits 0, 1, 4, 7, 8
_DIGITS = (0, 1, 4, 7, 8)
_COLORS = np.array([[255, 80, 80], [80, 255, 80], [90, 120, 255], [255, 255, 90], [255, 90, 255]])
SPLITS = {"train": 96, "validation": 64, "test": 80}
_CELLS = 9  # of 8 pixels, in 24 x 24


class MultiDigits(tfds.core.GeneratorBasedBuilder):
    """One to three digits per image; a faint one is difficult in the sense of PASCAL VOC."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        labels = tfds.features.Sequence(tfds.features.ClassLabel(names=CLASSES))
        features = {
            "image": tfds.features.Image(shape=(24, 24, 3), encoding_format="png"),
            "labels": labels,
            "labels_no_difficult": labels,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the digits come with scikit-learn
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        for number, (image, objects) in enumerate(examples(split)):
            yield (
                number,
                {
                    "image": image,
                    "labels": sorted({CLASSES[label] for label, _ in objects}),
                    "labels_no_difficult": sorted({CLASSES[label] for label, faint in objects if not faint}),
                },
            )


def examples(split: str) -> list[tuple[np.ndarray, list[tuple[int, bool]]]]:
    """Return `[24, 24, 3]` uint8 images, each with (class, whether it is difficult) of its objects."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(list(SPLITS).index(split))
    images = []
    for _ in range(SPLITS[split]):
        canvas, objects = np.zeros((_CELLS, 8, 8, 3)), []
        for cell in rng.permutation(_CELLS)[: rng.integers(1, 4)]:
            label, faint = int(rng.integers(len(CLASSES))), bool(rng.random() < 0.15)
            ink = digits.images[rng.choice(np.flatnonzero(digits.target == _DIGITS[label]))] / 16
            canvas[cell] = ink[..., np.newaxis] * _COLORS[label] * (0.2 if faint else 1)
            objects.append((label, faint))
        grid = canvas.reshape(3, 3, 8, 8, 3).swapaxes(1, 2).reshape(24, 24, 3)
        images.append((grid.astype(np.uint8), objects))
    return images


def multi_hot(objects: list[tuple[int, bool]]) -> np.ndarray:
    """Return `[C]`: 1 shown, 0 not shown, -1 if all objects of the class are difficult."""
    hot = np.zeros(len(CLASSES), np.int32)
    for label, faint in sorted(objects, key=lambda shown: shown[1], reverse=True):  # difficult ones first
        hot[label] = -1 if faint else 1
    return hot
