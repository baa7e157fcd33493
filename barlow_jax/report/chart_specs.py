"""What of the metrics is drawn, by group: each chart's words, and what healthy looks like."""

from collections.abc import Mapping
from typing import NamedTuple

from barlow_jax.training import diagnostics


class Panel(NamedTuple):
    """A chart."""

    title: str
    axis: str  # with its unit
    lines: Mapping[str, str]  # what a line is called, by metric
    note: str = ""  # what healthy looks like
    factor: float = 1.0  # from the metric to the axis
    may_be_log: bool = False  # where values are far apart
    threshold: float | None = None  # a dashed line, in the axis's unit


TERMS = (
    Panel(
        "Loss",
        "loss",
        {"loss": "loss"},
        "Falls, steeply at first; no gaps, which are values that are not finite.",
        may_be_log=True,
    ),
    Panel(
        "Invariance term",
        "Σᵢ (1 - Cᵢᵢ)² / D",
        {"invariance": "invariance"},
        "Falls towards 0: the two views of an image agree.",
    ),
    Panel(
        "Redundancy term",
        "Σᵢ Σⱼ≠ᵢ Cᵢⱼ² / D",
        {"redundancy": "redundancy"},
        "Stays low while the other term falls: features say different things.",
    ),
    Panel(
        "Diagonal of C",
        "mean, 1 is perfect",
        {"diagonal_mean": "diagonal"},
        f"Rises towards 1. Below {diagnostics.DIAGONAL} (dashed) the views do not agree.",
        threshold=diagnostics.DIAGONAL,
    ),
    Panel(
        "Off the diagonal of C",
        "root mean square",
        {"off_diagonal_rms": "off diagonal"},
        f"Well below the diagonal: above {diagnostics.RATIO} of it all features are one.",
    ),
)
EMBEDDINGS = (
    Panel(
        "Spread of the embeddings",
        "deviation / length",
        {"embedding_spread": "spread"},
        f"Near 1. Below {diagnostics.SPREAD} (dashed) all embeddings are one vector: collapse.",
        threshold=diagnostics.SPREAD,
    ),
    Panel(
        "Deviation of a feature",
        "standard deviation",
        {"embedding_std_mean": "mean of all", "embedding_std_min": "smallest"},
        "The smallest stays above 0: no feature is constant.",
    ),
)
ACCURACY = (
    Panel(
        "k-NN accuracy while training",
        "top-1, %",
        {"knn_top1": "k-NN"},
        "Rises, and does not fall back. Test images by their neighbours among training images.",
        factor=100,
    ),
    Panel(
        "Accuracy on the batches",
        "top-1, %",
        {"top1": "top-1"},
        "Of the training images, augmented.",
        factor=100,
    ),
)
OPTIMIZATION = (
    Panel(
        "Learning rates",
        "rate",
        {"learning_rate_weights": "weights", "learning_rate_biases": "biases, BatchNorm"},
        "A rise from 0 in the warm-up, then half a cosine.",
    ),
    Panel(
        "Length of the gradient",
        "Euclidean norm",
        {"gradient_norm": "gradient"},
        "No jumps that stay.",
        may_be_log=True,
    ),
    Panel(
        "Skipped steps",
        "steps so far",
        {"skipped_steps": "skipped"},
        "None. A step whose loss or gradient is not finite is not taken.",
    ),
)
SPEED = (
    Panel(
        "Images a second",
        "images / s",
        {"images_per_second": "images"},
        "Flat after the first row, which has the compilation.",
    ),
    Panel(
        "Waiting for data",
        "share of the time, %",
        {"data_wait_fraction": "waiting"},
        f"Below {diagnostics.WAIT_SHARE:.0%} (dashed); above it the data set the pace.",
        factor=100,
        threshold=100 * diagnostics.WAIT_SHARE,
    ),
    Panel(
        "Broken images",
        "images so far",
        {"decode_failures": "broken"},
        "None, or few: images that could not be decoded.",
    ),
)
ONLY_WHERE_ANY = ("skipped_steps", "decode_failures")  # elsewhere a line at 0 says less than the summary


def groups(names: list[str]) -> dict[str, tuple[Panel, ...]]:
    """Charts by heading; a name that this file does not know is a term of the method's."""
    known = {
        name for panel in (*TERMS, *EMBEDDINGS, *ACCURACY, *OPTIMIZATION, *SPEED) for name in panel.lines
    }
    others = (
        Panel(_spoken(name).capitalize(), _spoken(name), {name: name}) for name in names if name not in known
    )
    return {
        "Loss and its terms": (*TERMS, *others),
        "Embeddings": EMBEDDINGS,
        "Accuracy": ACCURACY,
        "Optimization": OPTIMIZATION,
        "Speed": SPEED,
    }


def _spoken(name: str) -> str:
    return name.replace("_", " ")
