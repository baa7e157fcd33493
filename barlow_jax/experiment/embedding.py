"""Features of a split, or of other images, as a table."""

import dataclasses
from typing import Any

import jax
import numpy as np

from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.distributed import same_data
from barlow_jax.errors import UserError
from barlow_jax.evals import table_files
from barlow_jax.evals.features import Encode, extract
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import files, log, paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.networks.encoders import representation_width
from barlow_jax.papers.scores import PIXELS, PRETRAINED, data_identity
from barlow_jax.training.progress import show_progress
from barlow_jax.types import FeatureTable


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of N images in the order of their data set; images that cannot be decoded have no row.

    Attributes:
      features: `[N, H]` float32.
      labels: `[N]` int32, -1 without a label; or `[N, C]` if they are multi-label.
      names: path of each image, or its index.
      index: `[N]` int32 indices in the data set.
      about: source of the features: encoder, step, data.
      decode_failures: number of images without a row.
    """

    features: np.ndarray
    labels: np.ndarray
    names: list[str]
    index: np.ndarray
    about: dict[str, Any]
    decode_failures: int
    _config: Config
    _source: splits.Split

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        number, width = self.features.shape
        return f"Features of {number} images, width {width}: {self.about}"

    def save(self, path: PathLike) -> None:
        """Write the table as .npz or .parquet (docs/evaluation.md).

        Raises:
          UserError: the path has another suffix or is a folder.
        """
        table_files.check(Path(path))
        corners = getattr(self._source, "corners", None)
        corners = None if corners is None else corners[self.index]
        table = FeatureTable(self.features, self.labels, self.index)
        table_files.write(Path(path), table, self.names, self.about, corners)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of these rows as `[*rows.shape, height, width, C]` pixel values."""
        (batch,) = self._source.eval_batches(
            self._config.data, batch_size=rows.size, shard=ProcessShard(), examples=self.index[rows.ravel()]
        )
        pixels = batch.views["eval"]
        return pixels.reshape(*rows.shape, *pixels.shape[1:])


def embed(
    config: Config,
    path: Path | None,
    *,
    split: str | None = None,
    images: PathLike | None = None,
    feature_source: str = PRETRAINED,
    out: Path | None = None,
) -> Features:
    """Return the features of a split (default: config.data.eval_split), or of the images at a path.

    `path` is that of the encoder; `out` is a file to write on process 0, which is checked first.

    Raises:
      UserError: there are no images, none can be decoded, or `out` cannot be written.
    """
    if out:
        table_files.check(out)
    split = split or config.data.eval_split
    if images:
        source = same_data.open_images(paths.text(images), config.data)
    else:
        source = same_data.open_split(config.data, split)
        if not source.num_examples:
            raise UserError(f"--split: {split} of {config.data.name} has no images; choose another split")
    # A row of padding costs as much as an image: a few images are not padded to a large batch.
    limit = -(-source.num_examples // jax.device_count()) * jax.device_count()
    config = dataclasses.replace(config, eval_batch_size=min(config.eval_batch_size, limit))
    width = (
        config.data.image_size**2 * config.data.channels
        if feature_source == PIXELS
        else representation_width(config.network, **config.data.image)
    )
    if out and jax.process_index() == 0:
        files.check_free_space(out.parent, 4 * source.num_examples * width)
    experiment = Experiment.from_config(config)
    encode, step = experiment.encoder(path, feature_source)
    table = _extract(experiment, encode, source)
    about = {"feature_source": feature_source, "step": step, "encoder": config.network.encoder}
    if images:
        about["images_of"] = paths.absolute(images)
    else:
        identity = data_identity(dataclasses.asdict(config.data))
        about |= {"data": config.data.name, "data_dir": identity["data_dir"], "split": split}
    names = [source.decode_failures.name(index) for index in table.index.tolist()]
    features = Features(
        table.features, table.labels, names, table.index, about, table.decode_failures, config, source
    )
    if out and jax.process_index() == 0:
        features.save(out)
        log.info(f"{len(features)} rows of {width} features: {out}")
    return features


def _extract(experiment: Experiment, encode: Encode, source: splits.Split) -> FeatureTable:
    """Return the features in the order of the data set."""
    batches = show_progress(
        experiment.eval_batches(source),
        num_images=source.num_examples,
        batch_size=experiment.config.eval_batch_size,
    )
    table = extract(encode, batches, experiment.layout)
    if not len(table.index):
        raise UserError(f"none of the {source.num_examples} images can be decoded")
    if np.any(np.diff(table.index) < 0):  # the mesh may order the rows of several processes differently
        order = np.argsort(table.index)
        table = FeatureTable(*(rows[order] for rows in table[:3]))
    return table._replace(decode_failures=source.num_examples - len(table.index))
