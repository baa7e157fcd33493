"""scikit-learn's handwritten digits as a TFDS data set: 1 797 real images that need no download.

Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), 8x8 pixels of 17 grey levels,
scaled to 0..255. Four fifths of each class are the training split, the rest is the test split.
"""

import numpy as np
import tensorflow_datasets as tfds

from barlow_jax.data import sklearn_digits


class Digits(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of scikit-learn's handwritten digits."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            description=__doc__,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the images come with scikit-learn
        return {name: self._generate_examples(digits) for name, digits in sklearn_digits.read().items()}

    def _generate_examples(self, digits: sklearn_digits.DigitImages):
        for pixels, label, index in zip(*digits, strict=True):
            yield int(index), {"image": pixels[..., np.newaxis], "label": int(label)}
