"""Inspection of a run's network: snapshots, augmented views, nearest neighbors and projections."""

import contextlib

import numpy as np
from PIL import Image

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.evals import features
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.neighbors import nearest
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.reporting import contact_sheet
from barlow_jax.reporting.schema import ModelInspection, Neighbors, Projection
from barlow_jax.reporting.snapshots import take_snapshots
from barlow_jax.types import FeatureTable

MAX_TRAIN, MAX_TEST = 10_000, 1_000  # images to search for neighbors, and images in the projections
_VIEW_ROWS, _NUM_QUERIES, _NUM_NEIGHBORS = 6, 8, 5
_VIEW_PIXELS, _NEIGHBOR_PIXELS, _PROJECTION_PIXELS = 96, 64, 32  # maximum per side


def inspect_model(experiment: Experiment, workdir: Path, *, images: int = 512) -> ModelInspection | None:
    """Inspect the network of a run. The checkpoints are only read, so the run may still be training.

    All randomness comes from the run's seed or a fixed one: the same files give the same inspection. At most
    `images` training images, in two views, give C and the spectra of a snapshot: with n images the error of
    an entry of C is about 1 / sqrt(n), and no rank exceeds n - 1.

    Returns:
      The inspection; None if there is no checkpoint, which is logged, as is everything that is left out.

    Raises:
      UserError: the data cannot be read, or no checkpoint is intact.
    """
    if newest_step(workdir) is None:
        log.info(f"{workdir} holds no checkpoint yet. The report leaves out the model inspection.")
        return None
    config = experiment.config
    train = splits.open_split(config.data, config.data.train_split)
    test = splits.open_split(config.data, config.data.eval_split)
    num_views = min(_VIEW_ROWS, train.num_examples)
    columns = contact_sheet.view_columns(config, train, num_views, (config.data.augment_on,))
    neighbors, projections = _neighbors_and_projections(experiment, workdir, train, test)
    return ModelInspection(
        snapshots=take_snapshots(experiment, workdir, train, images),
        views={title: thumbnails(column, _VIEW_PIXELS) for title, column in columns.items()},
        neighbors=neighbors,
        projections=projections,
    )


def _neighbors_and_projections(
    experiment: Experiment, workdir: Path, train: splits.Split, test: splits.Split
) -> tuple[Neighbors, list[Projection]]:
    """Encode up to 10 000 training and 1 000 test images with the newest intact checkpoint."""
    config = experiment.config
    encode, _ = experiment.encoder(workdir, PRETRAINED)

    def extract(split: splits.Split, limit: int) -> FeatureTable:
        index = np.sort(np.random.default_rng(0).permutation(split.num_examples)[:limit])
        return features.extract(encode, experiment.eval_batches(split, index), experiment.layout)

    train_table, test_table = extract(train, MAX_TRAIN), extract(test, MAX_TEST)
    chosen = np.sort(np.random.default_rng(0).permutation(len(test_table.index))[:_NUM_QUERIES])
    own = EvaluationData(config.data, train, test).own_rows(train_table.index, test_table.index)
    exclude = None if own is None else own[chosen]
    queries = test_table.features[chosen]
    rows, cosines = nearest(queries, train_table.features, _NUM_NEIGHBORS, exclude=exclude)
    images = _read_thumbnails(config, train, train_table.index[rows.ravel()], _NEIGHBOR_PIXELS)
    neighbors = Neighbors(
        queries=_read_thumbnails(config, test, test_table.index[chosen], _NEIGHBOR_PIXELS),
        query_labels=_labels(test_table)[chosen],
        images=images.reshape(*rows.shape, *images.shape[1:]),
        labels=_labels(train_table)[rows],
        cosines=cosines,
    )
    test_thumbnails = _read_thumbnails(config, test, test_table.index, _PROJECTION_PIXELS)
    return neighbors, project(test_table.features, _labels(test_table), test_thumbnails)


def project(representations: np.ndarray, labels: np.ndarray, images: np.ndarray) -> list[Projection]:
    """Project representations to two dimensions by PCA, t-SNE, and UMAP if umap-learn is installed.

    t-SNE sees the 50 directions of largest variance, as its authors advise, and runs in one thread: of 1 000
    rows it takes 5 s, and with two threads on two busy cores 100 s, because they wait for each other.

    Args:
      representations: `[n, H]`; no projection for n < 3, or if they are not finite or all equal.
      labels: `[n]`.
      images: `[n, height, width, 3]` thumbnails.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    import threadpoolctl

    number, width = representations.shape
    if number < 3 or not np.ptp(representations, axis=0).max() > 1e-6 * np.abs(representations).max():
        return []
    kept = min(50, number, width)
    solver = "arpack" if kept < min(number, width) else "covariance_eigh"
    perplexity = min(30.0, (number - 1) / 3)
    with threadpoolctl.threadpool_limits(1):
        pca = PCA(kept, svd_solver=solver, random_state=0)
        principal = pca.fit_transform(representations.astype(np.float64))
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(principal)
    explained = float(np.sum(pca.explained_variance_ratio_[:2]))
    points = {f"PCA, {explained:.0%} of the variance": principal[:, :2]}
    points[f"t-SNE, perplexity {perplexity:.0f}"] = tsne.astype(np.float64)
    with contextlib.suppress(ImportError):
        import umap

        reducer = umap.UMAP(n_neighbors=min(15, number - 1), metric="cosine", random_state=0, n_jobs=1)
        points["UMAP"] = np.asarray(reducer.fit_transform(representations), np.float64)
    return [Projection(method, rows, labels, images) for method, rows in points.items()]


def thumbnails(images: np.ndarray, max_pixels: int) -> np.ndarray:
    """Return `[n, height, width, 3]` uint8 composites, downscaled if the longer side exceeds `max_pixels`."""
    images = contact_sheet.composite(images)
    height, width = images.shape[1:3]
    longer = max(height, width)
    if longer <= max_pixels:
        return images
    size = (max(1, width * max_pixels // longer), max(1, height * max_pixels // longer))
    return np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in images])


def _read_thumbnails(config: Config, split: splits.Split, index: np.ndarray, max_pixels: int) -> np.ndarray:
    (batch,) = split.eval_batches(config.data, batch_size=len(index), shard=ProcessShard(), examples=index)
    return thumbnails(batch.views["eval"], max_pixels)


def _labels(table: FeatureTable) -> np.ndarray:
    """Return `[N]` labels; -1 for unlabeled and multi-label images."""
    return table.labels if table.labels.ndim == 1 else np.full(len(table.labels), -1)
