"""The nouns that everybody shares. B batch, H representation, D embedding, N rows of a table."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array
Metrics = dict[str, Array]


class Batch(NamedTuple):
    """What a step sees; host arrays before the mesh places them, global arrays after."""

    # Each [B, height, width, 3] uint8 levels; or what the step is to make them of (barlow_jax.canvas).
    views: Mapping[str, Array]
    labels: Array  # [B] int32, -1 where the data set has none; or [B, C] of several labels (FeatureTable)
    index: Array  # [B] int32 place in the data set; -1 for padding, and for broken images, of an evaluation


class Outputs(NamedTuple):
    """What the network says of one view; None where it has no such head."""

    representation: Array  # [B, H] pooled output of the encoder, float32
    embedding: Array | None = None  # [B, D] output of the projector, in the dtype of the computation
    prediction: Array | None = None  # [B, D] output of the predictor on the embedding
    logits: Array | None = None  # [B, C] output of the classifier on the representation, float32


class Context(NamedTuple):
    """What a loss may look at beside the network's outputs."""

    labels: Array  # [B] int32 classes; -1 where the data set has none


class TrainState(NamedTuple):
    """All that a run carries from step to step; what a checkpoint holds."""

    step: Array  # [] int32, updates done
    params: Any  # nested dict of float32 arrays, {"encoder": ..., "projector": ...}
    batch_stats: Any  # the same shape of tree: running means and variances
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class Objective:
    """A method: a pure loss, written for the global batch."""

    loss: Callable[[Mapping[str, Outputs], Context], tuple[Array, Metrics]]


@dataclasses.dataclass(frozen=True)
class Reshard:
    """What a mesh hands to a loss, which is written for global arrays; the compiler places the collectives."""

    by_features: Callable[[Array], Array]  # lays [N, D] embeddings out: all rows of D / P features a device
    num_devices: int  # P


# Of a projector whose output features are split over the P devices of a slice: `[B, I]` activations and
# `[I, O]` weights to `[B, O]`, O laid out by features. True for activations that come laid out by rows.
ParallelLinear = Callable[[Array, Array, bool], Array]


class FeatureTable(NamedTuple):
    """Frozen features of a split, in the order of the data set, padding and broken images dropped."""

    features: np.ndarray  # [N, H] float32
    # [N] int32; or [N, C] int32 of images with several labels: 1 shown, 0 not, -1 not to be counted
    labels: np.ndarray
    index: np.ndarray | None = None  # [N] int32 places in the data set, where rows are to be read again
    broken: int = 0  # images of the split that have no row because they could not be decoded
