"""Prepare a TFDS data set in a format with random access; called by prepare_data.sh."""

import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.data.catalog import tfds_builder


def write_arrays(name: str, data_dir: str, folder: pathlib.Path) -> None:
    """Write `<split>.npz` for every split, which `config.data.name=images` reads."""
    features = tfds_builder(Data(name=name, data_dir=data_dir)).info.features
    shapes = [feature.shape for feature in features.values() if isinstance(feature, tfds.features.Image)]
    if len(shapes) != 1 or None in shapes[0]:
        sys.exit(
            f"--arrays: requires one image per example, all of the same shape; {name} has the shapes {shapes}"
        )
    ((height, width, channels),) = shapes
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(name=name, data_dir=data_dir, canvas=max(height, width), max_decode_failures=0)
    for split in tfds_builder(data).info.splits:
        source = splits.open_split(data, split)
        if source.multi_label:
            sys.exit(f"--arrays: {name} is multi-label, but arrays hold one label per image")
        decoded = source.decode_all(data)
        arrays = {"images": decoded.views["canvas"][:, :height, :width]}
        if channels == 1:
            arrays["images"] = arrays["images"][..., 0]
        if source.num_classes and decoded.labels.min() >= 0:  # some splits have no labels
            arrays["labels"] = decoded.labels
        np.savez(folder / f"{split}.npz", **arrays)


name, data_dir, manual_dir, *arrays = sys.argv[1:]
tfds_builder(Data(name=name, data_dir=data_dir)).download_and_prepare(
    file_format="array_record",
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
)
for folder in arrays:
    write_arrays(name, data_dir, pathlib.Path(folder))
