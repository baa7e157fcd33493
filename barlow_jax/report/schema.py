"""What a report shows. D embedding, H representation, n images."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.evals.correlation import Histogram


@dataclasses.dataclass(frozen=True)
class Run:
    """What the files of a workdir say; what is missing there is None or empty."""

    name: str  # of its folder
    workdir: pathlib.Path
    config: Mapping[str, Any]  # by flat key, "data.image_size"
    changed: Mapping[str, tuple[Any, Any]]  # by flat key: the default, which is the paper's, and this run's
    provenance: Sequence[Mapping[str, Any]]  # as `provenance.read` gives it
    status: Mapping[str, Any] | None  # status.json
    metrics: Sequence[Mapping[str, float | None]]  # rows of metrics.jsonl, {"step": ..., name: value}
    results: Mapping[str, Mapping[str, Any]]  # results/<program>.json, by the program's name


class Snapshot(NamedTuple):
    """What the network makes of the two views of fixed images after so many steps. Where it has no projector there are
    no embeddings, and None stands for what is said of them."""

    step: int
    # [d, d]: C (Barlow Twins, equation 2) of the embeddings; of several features a cell, their root mean square.
    correlation: np.ndarray | None
    features_per_cell: int  # a side: D / d, rounded up
    diagonal: Histogram | None  # of the D values of C's diagonal
    off_diagonal: Histogram | None  # of the others
    # Eigenvalues of the covariance, as shares of their sum, from the largest on; and exp of the entropy of the singular
    # values' shares.
    embedding_spectrum: np.ndarray | None
    embedding_rank: float | None
    representation_spectrum: np.ndarray
    representation_rank: float


class Neighbours(NamedTuple):
    """Test images and the training images that are nearest to them, by cosine of representations."""

    queries: np.ndarray  # [n, height, width, 3] uint8
    query_labels: np.ndarray  # [n]; -1 without labels
    found: np.ndarray  # [n, K, height, width, 3] uint8, from the nearest on
    found_labels: np.ndarray  # [n, K]
    cosines: np.ndarray  # [n, K]


class Map(NamedTuple):
    """Representations of test images in a plane."""

    method: str  # "PCA" or "UMAP", and how much of the variance it shows
    points: np.ndarray  # [n, 2]
    labels: np.ndarray  # [n]; -1 without labels
    thumbnails: np.ndarray  # [n, height, width, 3] uint8


@dataclasses.dataclass(frozen=True)
class ModelInspection:
    """What one run's network makes of images."""

    snapshots: Sequence[Snapshot]  # by step; the first is of the network before training
    views: Mapping[
        str, np.ndarray
    ]  # by the name of the column, [n, height, width, 3] uint8: originals, then views
    neighbours: Neighbours
    maps: Sequence[Map]
