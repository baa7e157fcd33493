"""Settings of a training run: optimizer, length, devices, checkpoints, monitoring and processes."""

import dataclasses
from typing import Literal

from barlow_jax.config.fields import field


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer and learning rate schedule: linear warm-up, then half a cosine, or one of your own."""

    name: str = field("lars", "Optimizer.", part="optimizer")
    schedule: str = field("warmup_cosine", "Learning rate by step.", part="schedule")
    learning_rate: float = field(0.2, "Peak learning rate per 256 images of the batch.", above=0)
    bias_learning_rate: float | None = field(
        0.0048, "Peak learning rate of biases and BatchNorm, per 256 images; none = learning_rate.", above=0
    )
    grad_scale: float = field(
        1.0,
        "Factor of every gradient, before anything else. The official code, on W processes, applies 1/W of "
        "the true gradient: LARS cancels that for weights, nothing does for biases and BatchNorm.",
        above=0,
    )
    momentum: float = field(0.9, "Momentum of lars and sgd; beta 1 of adamw.", min=0, below=1)
    weight_decay: float = field(1e-6, "Weight decay; never on biases and BatchNorm.", min=0)
    trust_coefficient: float = field(0.001, "Trust coefficient of lars.", above=0)
    trust_clip: bool = field(False, "Clip the ratio of lars, so that no layer's rate exceeds learning_rate.")
    warmup_epochs: float = field(10.0, "Length of the linear warm-up from 0.", unit="epochs", min=0)
    final_scale: float = field(
        0.001, "Learning rate at the end of the half cosine, as a fraction of the peak.", min=0, max=1
    )


@dataclasses.dataclass(frozen=True)
class Train:
    """Length of the training, batches, and skipped steps."""

    num_epochs: float = field(1000.0, "Length of the schedule.", unit="epochs", above=0)
    batch_size: int = field(2048, "Images per step, over all devices.", min=2)
    microbatches: int = field(
        1,
        "Parts in which a batch passes through the network, to save memory. The loss is that of the batch.",
        min=1,
    )
    image_sizes: tuple[int, ...] = field(
        (),
        "Sides of the views in parts of equal length of the schedule, such as 96,128,160 (progressive "
        "resolution); the last is data.image_size. The views are made in that size and reduced in the step. "
        "Empty = data.image_size throughout.",
        unit="pixels",
        min=1,
    )
    max_steps: int | None = field(
        None, "Stop after this many steps; the schedule is still that of num_epochs. none = never.", min=1
    )
    average_decay: float = field(
        0.0,
        "Decay per step of averaged weights and running statistics, which are saved with the state and "
        "evaluated instead of the current ones; 0 = no average.",
        min=0,
        below=1,
    )
    log_every_steps: int = field(50, "Steps between two metrics rows.", min=1)
    max_skipped_steps: int | None = field(
        10,
        "Stop after this many consecutive skipped (non-finite) steps; none = never. One bad batch or a "
        "burst of bad hardware is over sooner; a run that diverged stays so.",
        min=1,
    )
    stop_when_saturated: bool = field(
        False,
        "Stop when five measurements in a row have not improved the metric of monitor.select_by. Later "
        "measurements can still improve it when the learning rate decays.",
    )
    compilation_cache: str | None = field(
        "~/.cache/barlow_jax",
        "Folder of compiled programs, which a restart loads; none = no cache. The cache is executed as "
        "code: nobody else should be able to write to it. On preemptible machines and on several hosts, use "
        "a folder that all of them see, such as gs://bucket/compiled.",
    )


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Continued pretraining of an encoder (docs/adapting.md); without `weights`, nothing of this applies."""

    weights: str | None = field(
        None, "Encoder that the run starts from; set by adapt --weights.", is_path=True
    )
    freeze: float = field(
        0.1,
        "Fraction of the steps in which only the new heads are trained. The encoder's learning rate then "
        "rises to its full value over as many steps.",
        min=0,
        below=0.5,
    )
    encoder_rate: float = field(
        1.0, "Learning rate of the encoder's last layer, relative to the heads'.", above=0
    )
    layer_decay: float = field(
        0.8,
        "Factor of the learning rate from each layer of the encoder to the one before it.",
        above=0,
        max=1,
    )
    anchor: Literal["none", "weights", "features"] = field(
        "weights",
        "What keeps the encoder near its start. weights: each step removes a fraction of the distance to "
        "the initial weights. features: the loss has the mean squared distance of the unit features to "
        "those of the initial encoder.",
    )
    anchor_weight: float | None = field(
        None, "Fraction or factor of the anchor; none = 0.001 for weights, 1 for features.", min=0
    )


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Layout of the computation on the devices."""

    slices: int | None = field(
        None,
        "Groups of devices, each with the whole projector; none = the slices that the devices report. From "
        "256 chips on, groups within one slice keep a sharded projector's gathers short.",
        min=1,
    )
    projector: Literal["auto", "replicated", "sharded"] = field(
        "auto",
        "Projector weights on every chip, or split by output features over the chips of a slice; auto = "
        "whichever costs a chip less (distributed/mesh.py).",
    )
    embeddings: Literal["features", "rows"] = field(
        "features",
        "How embeddings reach the loss: resharded by features, or by rows as they are. With rows, chips sum "
        "the D x D matrix (direct) or gather each other's embeddings (gram).",
    )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Intervals of checkpoints, and how many of them are kept."""

    every_epochs: float = field(
        1.0, "Interval of checkpoints; one is always written at the end.", unit="epochs", above=0
    )
    every_minutes: float | None = field(
        None,
        "Interval of checkpoints by the clock, instead of every_epochs; none = by epochs. The clock is read "
        "every train.log_every_steps. Checkpoints of keep_every_epochs are written as well.",
        unit="minutes",
        above=0,
    )
    keep_newest: int = field(
        2, "Newest checkpoints kept. 1 leaves no fallback if the newest is damaged.", min=1
    )
    keep_every_epochs: float | None = field(
        100.0,
        "Interval of checkpoints that are kept forever; none = only the newest.",
        unit="epochs",
        above=0,
    )


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Quality measured during training: metrics without labels, k-NN accuracy with labels, and sinks."""

    every_epochs: float = field(10.0, "Interval of measurements; 0 = never.", unit="epochs", min=0)
    num_images: int = field(
        2048, "Images of the evaluation split that the metrics without labels are measured on.", min=2
    )
    views: int = field(
        4, "Augmented views of each of these images, kept in memory. LiDAR was published with 50.", min=2
    )
    k: int = field(20, "Number of neighbors of k-NN.", min=1)
    max_images: int = field(10_000, "Maximum number of images of each split for k-NN.", min=1)
    select_by: Literal["auto", "knn", "rankme", "lidar", "alpha_req", "view_retrieval"] = field(
        "auto",
        "Metric of the best checkpoint, which is kept, and which --checkpoint best selects; auto = knn with "
        "labels, else view_retrieval.",
    )
    sinks: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = field(
        ("tensorboard",),
        "Tools that receive a copy of metrics.jsonl; wandb and mlflow are extras of this package, and read "
        "their own environment variables.",
    )


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Several processes, one per host. Outside of a known cluster, pass --coordinator."""

    detect: bool = field(
        True, "Join the processes of a TPU slice, a GKE job or a Slurm step, if there is one."
    )
    initialization_timeout_s: int = field(
        300, "Time that processes wait for each other at the start.", unit="seconds", min=1
    )
    heartbeat_timeout_s: int = field(
        100,
        "A process that is silent for this long counts as dead, and the others end too.",
        unit="seconds",
        min=1,
    )
    shutdown_timeout_s: int = field(
        300, "Time that a finished process waits for the others.", unit="seconds", min=1
    )
