"""The nouns that everybody shares. B batch, H representation, D embedding, N rows of a table."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Array = jax.Array
Metrics = dict[str, Array]
# Ids of what is no word of a caption's vocabulary; its words come after.
PADDING, UNKNOWN = 0, 1


class Batch(NamedTuple):
    """What a step sees; host arrays before the mesh places them, global arrays after."""

    # Each [B, height, width, 3] uint8 levels, or what the step is to make them of (barlow_jax.data.padded_images); a caption
    # [B, T] int32 word ids, padded with 0.
    views: Mapping[str, Array]
    labels: Array  # [B] int32, -1 where the data set has none; or [B, C] of several labels (FeatureTable)
    index: Array  # [B] int32 place in the data set; -1 for padding, and for broken images, of an evaluation


class Outputs(NamedTuple):
    """What the network says of one view; None where it has no such head."""

    representation: Array  # [B, H] pooled output of the encoder, float32
    embedding: Array | None = None  # [B, D] output of the projector, in the dtype of the computation
    prediction: Array | None = None  # [B, D] output of the predictor on the embedding
    logits: Array | None = None  # [B, C] output of the classifier on the representation, float32
    scores: Array | None = None  # [B, K] cosines of the embedding with the prototypes, float32


class LossContext(NamedTuple):
    """What a loss may look at beside the network's outputs; nothing of it has a gradient."""

    labels: Array  # [B] int32 classes; -1 where the data set has none
    step: Array | int = 0  # [] int32 updates done before this one
    key: Array | None = None  # of this step, for what the loss draws
    targets: Mapping[str, Outputs] = {}  # of the target network, by view
    prototypes: Array | None = None  # [D, K] unit columns


class TrainState(NamedTuple):
    """All that a run carries from step to step; what a checkpoint holds."""

    step: Array  # [] int32, updates done
    params: Any  # nested dict of float32 arrays, {"encoder": ..., "projector": ...}
    batch_stats: Any  # the same shape of tree: running means and variances
    opt_state: Any
    # {"params": ..., "batch_stats": ...} of the target network, the parameters a moving average; {} without one.
    target: Any = {}
    memory: Any = {}  # what the objective keeps, in arrays [K, ...] that a mesh may split by rows; {} if nothing

    def parts(self) -> dict[str, Any]:
        """Those that hold arrays, by name: what is saved and restored."""
        return {name: part for name, part in self._asdict().items() if jax.tree.leaves(part)}


# What the network says by view, the memory, and the context, to the loss, the new memory, and metrics: scalars
# that say how healthy the run is.
Loss = Callable[[Mapping[str, Outputs], Any, LossContext], tuple[Array, Any, Metrics]]


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Whose rows share the batch statistics of a BatchNorm: those of one view; or more, in encoder and heads."""

    encoder: Literal["view", "size"] = "view"  # size: all views of one size
    heads: Literal["view", "together"] = "view"  # together: all views

    def of_encoder(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """The groups of views, from pixels by name."""
        if self.encoder == "view":
            return [(name,) for name in sizes]
        return [tuple(n for n in sizes if sizes[n] == size) for size in dict.fromkeys(sizes.values())]

    def of_heads(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """As `of_encoder`."""
        return [tuple(sizes)] if self.heads == "together" else [(name,) for name in sizes]

    def passes(self, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
        """The groups of views that need nothing of each other in the whole network."""
        return self.of_heads(sizes) if self.heads == "together" else self.of_encoder(sizes)


@dataclasses.dataclass(frozen=True)
class Target:
    """A second network whose parameters follow those of the first as a moving average."""

    momentum: Callable[
        [Array], Array
    ]  # of the average, from the updates done before this one: 1 stays as it is
    views: tuple[str, ...]  # that go through it, in training mode


@dataclasses.dataclass(frozen=True)
class Objective:
    """A method: a pure loss, written for the global batch, and what the step does for it."""

    loss: Loss
    _: dataclasses.KW_ONLY
    views: tuple[str, ...] = ()  # that go through the network; none: all
    grouping: Grouping = Grouping()
    target: Target | None = None
    init_memory: Callable[[Array], Any] = lambda key: {}  # from a key
    constrain: Callable[[Any], Any] = lambda params: params  # what parameters are made to be before each step


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a method is told of the run that it is made for."""

    views: tuple[str, ...] = ("a", "b")
    width: int = 0  # D
    batch_size: int = 0  # B, all devices
    steps_per_epoch: int = 1
    num_steps: int = 1  # of the whole schedule
    reshard: "Reshard | None" = None


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
    decode_failures: int = 0  # images of the split that have no row because they could not be decoded
