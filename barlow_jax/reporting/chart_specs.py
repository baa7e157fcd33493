"""Charts of the metrics, by group: titles, units, and a caption that says what a healthy run looks like."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from barlow_jax.training import diagnostics


class ChartSpec(NamedTuple):
    """One chart of one or more metrics."""

    title: str
    axis: str  # quantity, with its unit
    lines: Mapping[str, str]  # metric -> name of its line
    caption: str = ""  # what a healthy run looks like
    factor: float = 1.0  # from the metric's unit to the axis's
    may_be_log: bool = False  # logarithmic if the values span more than a factor of 30
    threshold: float | None = None  # dashed line, in the axis's unit


_GROUPS: dict[str, tuple[ChartSpec, ...]] = {}  # charts by heading, in the order of the page
_GROUPS["Loss terms"] = (
    ChartSpec(
        "Loss",
        "loss",
        {"loss": "loss"},
        "Healthy: falls, steeply at first. A gap is a value that is not finite.",
        may_be_log=True,
    ),
    ChartSpec(
        "Invariance term",
        "Σᵢ (1 - Cᵢᵢ)² / D",
        {"invariance": "invariance"},
        "Healthy: falls towards 0, because the two views of an image agree.",
    ),
    ChartSpec(
        "Redundancy term",
        "Σᵢ Σⱼ≠ᵢ Cᵢⱼ² / D",
        {"redundancy": "redundancy"},
        "Healthy: does not rise for long. High values mean redundant features.",
    ),
    ChartSpec(
        "Diagonal of C",
        "mean (ideal: 1)",
        {"diagonal_mean": "diagonal"},
        f"Healthy: rises towards 1. Below {diagnostics.DIAGONAL} (dashed) the views do not agree.",
        threshold=diagnostics.DIAGONAL,
    ),
    ChartSpec(
        "Off-diagonal of C",
        "root mean square",
        {"off_diagonal_rms": "off-diagonal"},
        f"Healthy: well below the diagonal. Above {diagnostics.RATIO} of it, features are nearly equal.",
    ),
)
_GROUPS["Embeddings"] = (
    ChartSpec(
        "Embedding spread",
        "standard deviation / length",
        {"embedding_spread": "spread"},
        f"Healthy: near 1. Below {diagnostics.SPREAD} (dashed) the embeddings collapse to one vector.",
        threshold=diagnostics.SPREAD,
    ),
    ChartSpec(
        "Standard deviation of embedding features",
        "standard deviation",
        {"embedding_std_mean": "mean", "embedding_std_min": "minimum"},
        "Healthy: the minimum stays above 0, so no feature is constant.",
    ),
)
_GROUPS["Accuracy"] = (
    ChartSpec(
        "k-NN accuracy during training",
        "top-1, %",
        {"knn_top1": "top-1", "knn_balanced_accuracy": "balanced"},
        "Healthy: rises and does not fall back. The nearest training images classify each test image.",
        factor=100,
    ),
    ChartSpec(
        "Accuracy on training batches",
        "top-1, %",
        {"top1": "top-1"},
        "Measured on augmented training images.",
        factor=100,
    ),
)
_GROUPS["Quality without labels"] = (
    ChartSpec(
        "RankMe",
        "effective rank, directions",
        {"rankme": "representation", "rankme_embedding": "embedding"},
        "How many directions the features fill. Healthy: does not fall to a few.",
    ),
    ChartSpec(
        "LiDAR",
        "effective rank, directions",
        {"lidar": "representation"},
        "Directions that tell images apart, and not the views of one image. Healthy: rises, then levels off.",
    ),
    ChartSpec(
        "alpha-ReQ",
        "decay exponent",
        {"alpha_req": "representation"},
        "How fast the variance decays from direction to direction. Near 1 is best; far above, few are used.",
    ),
    ChartSpec(
        "Alignment and uniformity",
        "on the unit sphere",
        {"alignment": "alignment", "uniformity": "uniformity"},
        "Alignment is 0 if the views of an image agree; uniformity is 0 if all images are one vector, and "
        "about -4 at best. Healthy: both fall.",
    ),
    ChartSpec(
        "Retrieval of views",
        "top-1, %",
        {"view_retrieval_top1": "other view found"},
        "How often an image's other view is the nearest of all. Healthy: rises and does not fall back.",
        factor=100,
    ),
)
_GROUPS["Optimization"] = (
    ChartSpec(
        "Learning rates",
        "learning rate",
        {"learning_rate_weights": "weights", "learning_rate_biases": "biases and BatchNorm"},
        "The schedule: linear warm-up from 0, then half a cosine.",
    ),
    ChartSpec(
        "Gradient norm",
        "Euclidean norm",
        {"gradient_norm": "gradient"},
        "Healthy: no lasting jumps.",
        may_be_log=True,
    ),
    ChartSpec(
        "Skipped steps",
        "steps so far",
        {"skipped_steps": "skipped"},
        "Healthy: none. A step is skipped if its loss or gradient is not finite.",
    ),
)
_GROUPS["Speed"] = (
    ChartSpec(
        "Throughput",
        "images / s",
        {"images_per_second": "throughput"},
        "Healthy: level after the first row, which includes compilation.",
    ),
    ChartSpec(
        "Data wait",
        "fraction of step time, %",
        {"data_wait_fraction": "data wait"},
        f"Healthy: below {diagnostics.DATA_WAIT_FRACTION:.0%} (dashed). Above, the input limits the speed.",
        factor=100,
        threshold=100 * diagnostics.DATA_WAIT_FRACTION,
    ),
    ChartSpec(
        "Decode failures",
        "images so far",
        {"decode_failures": "decode failures"},
        "Healthy: none, or few.",
    ),
)
ONLY_IF_POSITIVE = ("skipped_steps", "decode_failures")  # the summary already says that there are none


def groups(names: Sequence[str]) -> dict[str, tuple[ChartSpec, ...]]:
    """Return the charts by heading. A metric without a chart above is drawn as a term of the loss."""
    known = {name for specs in _GROUPS.values() for spec in specs for name in spec.lines}
    titles = {name: name.replace("_", " ") for name in names if name not in known}
    others = [ChartSpec(title.capitalize(), title, {name: name}) for name, title in titles.items()]
    return _GROUPS | {"Loss terms": (*_GROUPS["Loss terms"], *others)}
