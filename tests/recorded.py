"""Small data sets of TFDS for the tests: the digits, registered as "recorded_digits", and given images."""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import sklearn_digits


class RecordedDigits(tfds.core.GeneratorBasedBuilder):
    """scikit-learn's digits, in an order of TFDS."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the images come with scikit-learn
        return {split: self._generate_examples(split) for split in sklearn_digits.NUM_IMAGES}

    def _generate_examples(self, split: str):
        source = sklearn_digits.open_source("digits")
        for index, name in enumerate(source.names):
            if source.columns["split"][index] == split:
                image = source.read(index)[..., np.newaxis]
                yield int(name.partition("/")[2]), {"image": image, "label": source.columns["label"][index]}


def write(data_dir: str, images: Sequence[bytes], labels: Sequence[int], **settings) -> Data:
    """Write encoded images, intact or not, as the split train of two classes, in this order."""

    class Recorded(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "recorded"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
            del dl_manager
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield number, {"image": image, "label": label}

    Recorded(data_dir=str(data_dir)).download_and_prepare(file_format="array_record")
    return Data(name="recorded", data_dir=str(data_dir), **settings)
