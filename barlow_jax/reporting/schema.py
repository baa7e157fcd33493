"""Data that a report shows. D: embedding width, H: representation width, n: number of images."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.evals.correlation import Correlation
from barlow_jax.evals.spectrum import Spectrum
from barlow_jax.io.paths import Path


@dataclasses.dataclass(frozen=True)
class Run:
    """Contents of a workdir's files. A missing file is None or empty."""

    name: str  # folder name
    workdir: Path
    config: Mapping[str, Any]  # by flat key, "data.image_size"
    changed: Mapping[str, tuple[Any, Any]]  # by flat key: the default, which is the paper's; this run's value
    provenance: Sequence[Mapping[str, Any]]  # entries of `provenance.read`
    status: Mapping[str, Any] | None  # status.json
    metrics: Sequence[Mapping[str, float | None]]  # rows of metrics.jsonl, {"step": ..., name: value}
    results: Mapping[str, Mapping[str, Any]]  # results/<command>.json, by command, on the run's own data
    # Results on other data: for each data set, results by command (`scores.by_data`).
    other_results: Sequence[Mapping[str, Mapping[str, Any]]] = ()
    device_hour_price: float | None = None  # in any currency; None shows no price

    @property
    def devices(self) -> Mapping[str, Any]:
        """Devices of the last start: `kind`, `count`, `processes`; {} if unknown."""
        return (self.provenance[-1].get("devices") or {}) if self.provenance else {}

    @property
    def on_tpu(self) -> bool:
        """True if the last start was on TPU chips."""
        return str(self.devices.get("kind")).startswith("TPU")


class Snapshot(NamedTuple):
    """Statistics of the network's outputs for two views of fixed images, at one step.

    Correlation and embedding are None if the network has no projector.
    """

    step: int
    representation: Spectrum
    embedding: Spectrum | None = None
    correlation: Correlation | None = None  # C of the embeddings


class Neighbors(NamedTuple):
    """Test images and their K nearest training images by cosine similarity of representations."""

    queries: np.ndarray  # [n, height, width, 3] uint8
    query_labels: np.ndarray  # [n]; -1 without labels
    images: np.ndarray  # [n, K, height, width, 3] uint8
    labels: np.ndarray  # [n, K]; -1 without labels
    cosines: np.ndarray  # [n, K]


class Projection(NamedTuple):
    """Representations of test images in two dimensions."""

    method: str  # "PCA" and its fraction of the variance, "t-SNE" and its perplexity, or "UMAP"
    points: np.ndarray  # [n, 2]
    labels: np.ndarray  # [n]; -1 without labels
    thumbnails: np.ndarray  # [n, height, width, 3] uint8


@dataclasses.dataclass(frozen=True)
class ModelInspection:
    """Outputs of one run's network for images."""

    snapshots: Sequence[Snapshot]  # by step; the first is the network before training
    views: Mapping[str, np.ndarray]  # by column title, originals first: [n, height, width, 3] uint8
    neighbors: Neighbors
    projections: Sequence[Projection]
