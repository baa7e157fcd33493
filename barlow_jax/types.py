"""Types shared by all packages. B: batch size, H: representation width, D: embedding width, N: table rows."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Array = jax.Array
Metrics = dict[str, Array]
# Ids of padding and of words outside a caption's vocabulary; the vocabulary's ids follow.
PADDING, UNKNOWN = 0, 1


class Batch(NamedTuple):
    """Input of a step: host arrays from the pipeline, global arrays on the mesh."""

    # Images [B, height, width, C] uint8 or float32 pixel values, or the decoded images that the step augments
    # (barlow_jax.data.padded_images); captions [B, T] int32 word ids, padded with 0.
    views: Mapping[str, Array]
    labels: Array  # [B] int32, -1 if the data set has none; or [B, C] if it is multi-label (FeatureTable)
    # [B] int32 index in the data set; -1 for padding, and for decode failures, of an evaluation
    index: Array  # type: ignore[assignment]  # replaces the method of a tuple


class Outputs(NamedTuple):
    """Network outputs for one view. A field is None if the network lacks that head."""

    representation: Array  # [B, H] pooled output of the encoder, float32
    embedding: Array | None = None  # [B, D] output of the projector, in the dtype of the computation
    prediction: Array | None = None  # [B, D] output of the predictor on the embedding
    logits: Array | None = None  # [B, C] output of the classifier on the representation, float32
    scores: Array | None = None  # [B, K] cosines of the embedding with the prototypes, float32
    joint: Array | None = None  # [B, D] output of the joint head, in the first of the views that it takes


class LossContext(NamedTuple):
    """Inputs to a loss besides the network outputs. No gradient flows through them."""

    labels: Array  # [B] int32 classes; -1 if the data set has none
    step: Array | int = 0  # [] int32 updates of the schedule done before this one
    key: Array | None = None  # of this step, for the random numbers of the loss
    targets: Mapping[str, Outputs] = {}  # outputs of the target network, by view
    prototypes: Array | None = None  # [D, K] unit columns
    # [B] int32 indices in the training split; a replacement may repeat one
    index: Array | None = None  # type: ignore[assignment]


class TrainState(NamedTuple):
    """State that a run carries from step to step; content of a checkpoint."""

    step: Array  # [] int32, updates done
    params: Any  # nested dict of float32 arrays, {"encoder": ..., "projector": ...}
    batch_stats: Any  # tree of the same structure: running means and variances
    opt_state: Any
    # {"params": ..., "batch_stats": ...} of the target network, its parameters a moving average; {} without
    # one.
    target: Any = {}
    memory: Any = {}  # the objective's own arrays [K, ...], which a mesh may split by rows; {} if it has none
    # {"params": ..., "batch_stats": ...}, moving averages of both; {} without `config.train.average_decay`.
    average: Any = {}

    def nonempty_fields(self) -> dict[str, Any]:
        """Return the fields that hold arrays, by name: those that a checkpoint saves and restores."""
        return {name: field for name, field in self._asdict().items() if jax.tree.leaves(field)}

    def evaluated(self) -> tuple[Any, Any]:
        """Return the parameters and running statistics that evaluations use: the averages, if any."""
        average = self.average or {"params": self.params, "batch_stats": self.batch_stats}
        return average["params"], average["batch_stats"]

    def encoder(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the encoder's part of what is evaluated; {} if it has no BatchNorm."""
        params, batch_stats = (
            {name: part for name, part in tree.items() if name == "encoder"} for tree in self.evaluated()
        )
        return params, batch_stats


# (outputs by view, memory, context) -> (loss, new memory, metrics); metrics are scalars to monitor the run.
Loss = Callable[[Mapping[str, Outputs], Any, LossContext], tuple[Array, Any, Metrics]]


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Groups of views whose rows share batch statistics in BatchNorm, for the encoder and for the heads."""

    encoder: Literal["view", "size"] = "view"  # size: all views of one size
    heads: Literal["view", "together"] = "view"  # together: all views

    def encoder_groups(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """Return the groups of view names in the encoder; `sizes` are pixels per side by view."""
        if self.encoder == "view":
            return [(name,) for name in sizes]
        return [tuple(n for n in sizes if sizes[n] == size) for size in dict.fromkeys(sizes.values())]

    def head_groups(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """Return the groups of view names in the heads."""
        return [tuple(sizes)] if self.heads == "together" else [(name,) for name in sizes]

    def passes(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """Return the groups of view names that are independent of each other in the whole network."""
        return self.head_groups(sizes) if self.heads == "together" else self.encoder_groups(sizes)


@dataclasses.dataclass(frozen=True)
class Target:
    """Second network whose parameters are a moving average of those of the first."""

    momentum: Callable[[Array], Array]  # weight of the old average, from the updates done before; 1 keeps it
    views: tuple[str, ...]  # views that go through the target, in training mode


@dataclasses.dataclass(frozen=True)
class Objective:
    """Method: a pure loss, written for the global batch, and what else it asks of the step."""

    loss: Loss
    _: dataclasses.KW_ONLY
    views: tuple[str, ...] = ()  # views that go through the network; () = all, derived ones included
    grouping: Grouping = Grouping()
    target: Target | None = None
    # ([B, ...] views, key of the step) -> views that go through the networks, such as mixtures of images.
    # Those that the recipe does not name are normalized like view a. None = the views as they are.
    derive: Callable[[Mapping[str, Array], Array], Mapping[str, Array]] | None = None
    init_memory: Callable[[Array], Any] = lambda key: {}  # key -> initial memory
    # (memory, key) -> memory, after every `refresh_every` steps of the schedule; None = never.
    refresh: Callable[[Any, Array], Any] | None = None
    refresh_every: int = 1
    # Projects the parameters onto the constraint set before each step.
    constrain: Callable[[Any], Any] = lambda params: params


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """Facts about the run that an objective may depend on."""

    views: tuple[str, ...] = ("a", "b")
    width: int = 0  # D
    batch_size: int = 0  # B, over all devices
    num_images: int = 0  # of the training split
    steps_per_epoch: int = 1
    num_steps: int = 1  # of the whole schedule
    reshard: "Reshard | None" = None


@dataclasses.dataclass(frozen=True)
class Reshard:
    """Layout that a mesh offers to a loss on global arrays; the compiler places the collectives."""

    by_features: Callable[[Array], Array]  # reshards [N, D] embeddings: all rows of D / P features per device
    num_devices: int  # P


# Linear layer of a projector whose output features are split over the P devices of a slice:
# ([B, I] activations, [I, O] weights, rows) -> [B, O], split by O. `rows`: the activations come split by
# rows.
ParallelLinear = Callable[[Array, Array, bool], Array]


class FeatureTable(NamedTuple):
    """Frozen features of a split, in the order of the data set, without padding and decode failures."""

    features: np.ndarray  # [N, H] float32
    # [N] int32; or [N, C] int32 of a multi-label data set: 1 present, 0 absent, -1 to be ignored
    labels: np.ndarray
    # [N] int32 indices in the data set, if rows are to be read again
    index: np.ndarray | None = None  # type: ignore[assignment]
    decode_failures: int = 0  # images of the split without a row, because they could not be decoded
    # [N] rows of the training table that hold the same images, in a table to classify; -1 = none
    own: np.ndarray | None = None

    def labeled(self) -> "FeatureTable":
        """Return the table without the images that have no label, before `own` is set."""
        rows = self.labels >= 0 if self.labels.ndim == 1 else slice(None)
        index = None if self.index is None else self.index[rows]
        return self._replace(features=self.features[rows], labels=self.labels[rows], index=index)
