"""A small data set with the features of TFDS's `coco_captions`, for the tests: digits on larger images.

Importing this module registers it with TFDS as "tiny_captions".
"""

import numpy as np
import tensorflow_datasets as tfds

SPLITS = {"train": 48, "restval": 16, "val": 8, "test": 24}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class TinyCaptions(tfds.core.GeneratorBasedBuilder):
    """Images of 10 to 13 pixels a side with four to six captions."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "captions": tfds.features.Sequence({"id": np.int64, "text": tfds.features.Text()}),
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "image/filename": tfds.features.Text(),
            "image/id": np.int64,
            "objects": tfds.features.Sequence(
                {
                    "area": np.int64,
                    "bbox": tfds.features.BBoxFeature(),
                    "id": np.int64,
                    "is_crowd": np.bool_,
                    "label": tfds.features.ClassLabel(num_classes=80),
                }
            ),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the digits come with scikit-learn
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        for number, (image, texts) in enumerate(examples(split)):
            captions = [{"id": 10 * number + i, "text": text} for i, text in enumerate(texts)]
            yield (
                number,
                {
                    "captions": captions,
                    "image": image,
                    "image/filename": f"{number}.png",
                    "image/id": number,
                    "objects": [],
                },
            )


def examples(split: str) -> list[tuple[np.ndarray, list[str]]]:
    """Return `[height, width, 3]` uint8 images, each with its captions."""
    from sklearn.datasets import load_digits

    digits, start = load_digits(), sum(list(SPLITS.values())[: list(SPLITS).index(split)])
    pairs = []
    for row in range(start, start + SPLITS[split]):
        image = np.zeros((10 + row % 4, 10 + row % 3, 3), np.uint8)
        image[1:9, 1:9] = np.uint8(digits.images[row] * 15)[..., np.newaxis]
        name = _NUMBERS[digits.target[row]]
        texts = [
            f"A {name}, the {row}th sign.\n",  # COCO has line ends too
            f"someone's {name}",
            f"This is: {name.upper()}!",
            f"{name} caf\u00e9",
            f"a sign of {name}",
            f"once more {name}",
        ]
        pairs.append((image, texts[: 4 + row % 3]))
    return pairs
