"""Prepares a TFDS data set in the format that is read by index; prepare_data.sh calls it."""

import sys

import tensorflow_datasets as tfds

from barlow_jax.config import Data
from barlow_jax.data.catalog import tfds_builder

name, data_dir, manual_dir = sys.argv[1:]
tfds_builder(Data(name=name, data_dir=data_dir)).download_and_prepare(
    file_format="array_record",
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
)
