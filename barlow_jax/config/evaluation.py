"""Settings of the evaluations: linear probe, k-NN, fine-tuning, retrieval, SVM. Defaults: the papers'."""

import dataclasses
from typing import Literal

from barlow_jax.config.fields import field

_FRACTIONS = (
    "Fractions of the training labels that classifiers are trained on, with the same fraction of each class"
)
_REPEATS = "Fixed subsets over which results for label fractions below 1 are averaged."


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear probe on the frozen encoder. Defaults: the Barlow Twins paper's protocol for ImageNet."""

    solver: Literal["sgd", "lbfgs"] = field(
        "sgd",
        "sgd: the papers' protocols. lbfgs: the exact minimizer on features that are computed once, for "
        "daily use; it reads weight_decay, max_iterations and tolerance, and ignores the schedule.",
    )
    num_epochs: int = field(100, "Length of the training.", unit="epochs", min=1)
    batch_size: int = field(256, "Images per step.", min=1)
    learning_rate: float = field(
        0.3, "Initial learning rate. Both schedules change the rate once per epoch.", above=0
    )
    scale_learning_rate: bool = field(False, "Multiply the learning rate by batch_size / 256.")
    schedule: Literal["cosine", "steps"] = field(
        "cosine", "cosine: half a cosine to 0. steps: multiply by decay at each milestone."
    )
    milestones: tuple[float, ...] = field(
        (1 / 3, 2 / 3), "Rising fractions of num_epochs at which schedule=steps decays.", above=0, below=1
    )
    decay: float = field(0.1, "Factor of the learning rate at each milestone.", above=0)
    momentum: float = field(0.9, "Momentum of SGD.", min=0, below=1)
    nesterov: bool = field(False, "Use Nesterov momentum.")
    weight_decay: float = field(1e-6, "Weight decay of weight and bias.", min=0)
    augment: bool = field(
        True,
        "Crop and flip the training images randomly in each epoch. If false, features are computed once.",
    )
    standardize: bool = field(False, "Scale features to mean 0 and std 1 over the training images.")
    min_steps: int = field(
        0, "Minimum number of steps; small label subsets are trained for more epochs to reach it.", min=0
    )
    max_iterations: int = field(1000, "Maximum number of iterations of lbfgs.", min=1)
    tolerance: float = field(
        1e-5, "lbfgs stops when the largest absolute entry of the gradient is below this.", above=0
    )
    label_fractions: tuple[float, ...] = field((1.0,), f"{_FRACTIONS}.", above=0, max=1, non_empty=True)
    subset_repeats: int = field(1, _REPEATS, min=1)


@dataclasses.dataclass(frozen=True)
class Knn:
    """k-nearest-neighbor classification on frozen features."""

    k: tuple[int, ...] = field(
        (20, 200),
        "Numbers of neighbors, whose votes are weighted by cosine similarity.",
        min=1,
        non_empty=True,
    )
    temperature: float = field(0.07, "Temperature of the weights exp(similarity / temperature).", above=0)
    euclidean_k: tuple[int, ...] = field(
        (5,), "Numbers of neighbors with equal votes, by Euclidean distance. Empty = not measured.", min=1
    )
    label_fractions: tuple[float, ...] = field((1.0,), f"{_FRACTIONS}.", above=0, max=1, non_empty=True)
    subset_repeats: int = field(1, _REPEATS, min=1)


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Fine-tuning of encoder and classifier on few labels. Defaults: the official code's README."""

    label_fractions: tuple[float, ...] = field(
        (0.01, 0.1), f"{_FRACTIONS}; on ImageNet, SimCLR's lists of images.", above=0, max=1, non_empty=True
    )
    subset_repeats: int = field(1, _REPEATS, min=1)
    num_epochs: int = field(20, "Length of the training.", unit="epochs", min=1)
    batch_size: int = field(256, "Images per step.", min=1)
    encoder_learning_rate: float = field(
        0.005, "Initial learning rate of the encoder, not scaled by the batch size.", above=0
    )
    head_learning_rate: float = field(0.5, "Initial learning rate of the classifier, not scaled.", above=0)
    momentum: float = field(0.9, "Momentum of SGD.", min=0, below=1)
    weight_decay: float = field(0.0, "Weight decay of all parameters.", min=0)
    schedule: Literal["cosine", "steps"] = field(
        "cosine",
        "cosine: half a cosine to 0. steps: multiply by decay at each milestone. Rates change once per "
        "epoch.",
    )
    milestones: tuple[float, ...] = field(
        (0.6, 0.8), "Rising fractions of num_epochs at which schedule=steps decays.", above=0, below=1
    )
    decay: float = field(0.2, "Factor of both learning rates at each milestone.", above=0)


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """Retrieve images by their captions and captions by their images. Defaults: VSE++'s protocol."""

    k: tuple[int, ...] = field(
        (1, 5, 10),
        "The K of R@K, the fraction of queries with a correct result among the first K.",
        min=1,
        non_empty=True,
    )
    similarity: Literal["cosine", "dot"] = field("cosine", "Similarity of embeddings.")
    captions_per_image: int | None = field(5, "Captions used per image, the first ones; none = all.", min=1)


@dataclasses.dataclass(frozen=True)
class Svm:
    """One-vs-rest linear SVMs on frozen features of multi-label images.

    Defaults: the protocol of VOC07 classification (Goyal et al. 2019) as VISSL runs it on a
    ResNet-50: LIBLINEAR's dual solver, squared hinge, |w|^2 / 2 with the intercept in w.
    """

    costs: tuple[float, ...] = field(
        (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0),
        "Candidates for the cost C. Default: VISSL's list for ResNet-50; the paper's: 10^-7 ... 10^2 and "
        "2^-19 ... 2^-4.",
        above=0,
        non_empty=True,
    )
    folds: int = field(
        3,
        "Folds of the cross-validation, stratified and in order. The cost with the best mean average "
        "precision wins.",
        min=2,
    )
    positive_weight: float = field(2.0, "Weight of a positive's loss; a negative's is 1.", above=0)
    tolerance: float = field(1e-4, "LIBLINEAR's stopping tolerance.", above=0)
    max_iterations: int = field(2000, "Maximum number of iterations of LIBLINEAR.", min=1)
    normalize: bool = field(True, "Replace features f by f / (|f| + 1e-5).")
    difficult: Literal["negative", "left_out"] = field(
        "negative",
        "Role in training of an image that shows a class only in objects marked as difficult; VISSL uses it "
        "as a negative. The test leaves it out, as VOC does.",
    )
    average_precision: Literal["interpolated", "eleven_point"] = field(
        "interpolated",
        "Average precision on the test split. interpolated: area under the interpolated curve, as in VISSL "
        "(and VOC from 2010 on). eleven_point: mean at recalls 0, 0.1 ... 1 (VOC07's own).",
    )
