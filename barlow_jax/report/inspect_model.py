"""What the network of a run makes of images: of views, from before training on, and of others that look alike to it."""

from collections.abc import Iterator
import pathlib

import numpy as np
from PIL import Image

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.evals import features
from barlow_jax.evals.neighbors import nearest
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.report import contact_sheet
from barlow_jax.report.schema import Map, ModelInspection, Neighbours
from barlow_jax.report.snapshots import say, snapshots
from barlow_jax.types import Batch, FeatureTable

MOST_TRAIN, MOST_TEST = 10_000, 2_000  # images that neighbours are looked for in, and that are on the maps
_ROWS, _QUERIES, _NEIGHBOURS = 6, 8, 5
_VIEW_PIXELS, _NEIGHBOUR_PIXELS, _MAP_PIXELS = 96, 64, 32  # a side, at most


def inspect_model(
    experiment: Experiment, workdir: pathlib.Path, *, images: int = 512
) -> ModelInspection | None:
    """Of a run whose checkpoints are there; they stay as they are, so that a run which goes on can be looked at.

    Everything is drawn by the run's seed or a fixed one: the same files give the same look.

    Args:
      experiment: of the run's config, in one process.
      workdir: of the run.
      images: of the training split, whose two views make C and the spectra of a moment; what there is where it is
        less. With n of them an entry of C is off by about 1 / sqrt(n), and no rank is above n - 1.

    Returns:
      None where there is no checkpoint, which is said on standard error; as is what else is left out.

    Raises:
      UserError: the data cannot be read, or no checkpoint is good.
    """
    if newest_step(workdir) is None:
        say(f"{workdir} holds no checkpoint yet: what its network makes of images is left out")
        return None
    config = experiment.config
    source = splits.open_split(config.data, config.data.train_split)
    test = splits.open_split(config.data, config.data.eval_split)
    columns = contact_sheet.view_columns(
        config, source, min(_ROWS, source.num_examples), (config.data.augment_on,)
    )
    neighbours, maps = _pictures(experiment, workdir, source, test)
    return ModelInspection(
        snapshots=snapshots(experiment, workdir, source, images),
        views={name: thumbnails(column, _VIEW_PIXELS) for name, column in columns.items()},
        neighbours=neighbours,
        maps=maps,
    )


def _pictures(
    experiment: Experiment, workdir: pathlib.Path, source: splits.Split, test: splits.Split
) -> tuple[Neighbours, list[Map]]:
    """By the representations of the newest good checkpoint's encoder, of up to 10 000 training and 2 000 test images."""
    config = experiment.config
    encode, _ = experiment.encoder(workdir, PRETRAINED)
    kept: list[np.ndarray] = []

    def table(split: splits.Split, most: int, small: list[np.ndarray] | None = None) -> FeatureTable:
        chosen = np.sort(np.random.default_rng(0).permutation(split.num_examples)[:most])
        batches = experiment.eval_batches(split, chosen)
        return features.extract(
            encode, batches if small is None else _keeping(batches, small), experiment.layout
        )

    of_train, of_test = table(source, MOST_TRAIN), table(test, MOST_TEST, kept)
    chosen = np.sort(np.random.default_rng(0).permutation(len(of_test.index))[:_QUERIES])
    queries = of_test._replace(
        features=of_test.features[chosen], labels=of_test.labels[chosen], index=of_test.index[chosen]
    )
    places, cosines = nearest(queries.features, of_train.features, _NEIGHBOURS)
    found = _read(config, source, of_train.index[places.ravel()])
    neighbours = Neighbours(
        _read(config, test, queries.index),
        _labels(queries),
        found.reshape(*places.shape, *found.shape[1:]),
        _labels(of_train)[places],
        cosines,
    )
    return neighbours, maps(of_test.features, _labels(of_test), np.concatenate(kept))


def maps(representations: np.ndarray, labels: np.ndarray, small: np.ndarray) -> list[Map]:
    """By principal components, and by UMAP (by cosine) where umap-learn is installed; none of fewer than 3 images.

    Args:
      representations: `[n, H]`.
      labels: `[n]`.
      small: `[n, height, width, 3]` thumbnails.
    """
    from sklearn.decomposition import PCA

    if len(representations) < 3:
        return []
    pca = PCA(2, svd_solver="covariance_eigh").fit(representations.astype(np.float64))
    shard = float(np.sum(pca.explained_variance_ratio_))
    points = pca.transform(representations.astype(np.float64))
    made = [Map(f"PCA, {shard:.0%} of the variance", points, labels, small)]
    try:
        import umap
    except ImportError:
        return made
    plane = umap.UMAP(n_neighbors=min(15, len(points) - 1), metric="cosine", random_state=0, n_jobs=1)
    return [*made, Map("UMAP", np.asarray(plane.fit_transform(representations), np.float64), labels, small)]


def thumbnails(images: np.ndarray, pixels: int) -> np.ndarray:
    """`[n, height, width, 3]` uint8 images, made smaller where a side is longer than so many pixels."""
    height, width = images.shape[1:3]
    if max(height, width) <= pixels:
        return np.asarray(images)
    size = (max(1, width * pixels // max(height, width)), max(1, height * pixels // max(height, width)))
    return np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in images])


def _keeping(batches: Iterator[Batch], small: list[np.ndarray]) -> Iterator[Batch]:
    """The batches; the thumbnails of what the extractor keeps of them go into `small`."""
    for batch in batches:
        small.append(thumbnails(batch.views["eval"][batch.index >= 0], _MAP_PIXELS))
        yield batch


def _read(config: Config, split: splits.Split, index: np.ndarray) -> np.ndarray:
    """Images of a split at these places, small."""
    batches = split.eval_batches(config.data, batch_size=len(index), shard=ProcessShard(), examples=index)
    (batch,) = batches
    return thumbnails(batch.views["eval"], _NEIGHBOUR_PIXELS)


def _labels(table: FeatureTable) -> np.ndarray:
    """`[N]`; -1 of images that have none, or several."""
    return table.labels if table.labels.ndim == 1 else np.full(len(table.labels), -1)
