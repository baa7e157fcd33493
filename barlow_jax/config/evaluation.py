"""How an encoder is judged: the papers' evaluations, each with its knobs, their units and defaults."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear probe on the frozen encoder. Defaults: the paper's protocol for ImageNet."""

    # sgd: the papers' protocols. lbfgs: the exact minimiser on features that are computed once, for daily
    # use; it reads weight_decay, max_iterations and tolerance, and nothing of the schedule.
    solver: Literal["sgd", "lbfgs"] = "sgd"
    num_epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 0.3  # where the schedule starts; both schedules move once an epoch
    scale_learning_rate: bool = False  # times batch_size / 256
    schedule: Literal["cosine", "steps"] = "cosine"  # half a cosine to 0, or times decay at each milestone
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)  # shares of the epochs, rising
    decay: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-6  # weight and bias
    augment: bool = True  # crop and flip anew each epoch; else features are computed once
    standardize: bool = False  # features to mean 0 and deviation 1 over the training images
    min_steps: int = 0  # more epochs where a small label subset would give fewer steps
    max_iterations: int = 1000  # of lbfgs
    tolerance: float = 1e-5  # of lbfgs: the gradient's largest entry where it stops
    label_fractions: tuple[float, ...] = (1.0,)  # of the training labels, each class alike
    subset_repeats: int = 1  # fractions below 1 are the mean over so many fixed subsets


@dataclasses.dataclass(frozen=True)
class Knn:
    k: tuple[int, ...] = (20, 200)  # weighted votes by cosine similarity
    temperature: float = 0.07
    euclidean_k: tuple[int, ...] = (5,)  # uniform votes by Euclidean distance; none: not measured
    label_fractions: tuple[float, ...] = (1.0,)
    subset_repeats: int = 1


@dataclasses.dataclass(frozen=True)
class Finetune:
    """The whole encoder and a new classifier on a share of the labels. Defaults: the official code's README."""

    label_fractions: tuple[float, ...] = (0.01, 0.1)  # of ImageNet, SimCLR's lists; else each class alike
    subset_repeats: int = 1  # fractions below 1 are the mean over so many fixed subsets
    num_epochs: int = 20
    batch_size: int = 256
    encoder_learning_rate: float = 0.005  # at any batch size
    head_learning_rate: float = 0.5
    momentum: float = 0.9
    weight_decay: float = 0.0  # of every parameter
    schedule: Literal["cosine", "steps"] = "cosine"  # to 0, or in steps; moves once an epoch
    milestones: tuple[float, ...] = (0.6, 0.8)  # shares of the epochs at which "steps" goes down
    decay: float = 0.2  # by so much


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """Images by their captions and captions by their images, from embeddings. Defaults: VSE++'s protocol."""

    k: tuple[int, ...] = (1, 5, 10)  # R@K: the share of queries with a right one among the first K
    similarity: Literal["cosine", "dot"] = "cosine"
    captions_per_image: int | None = 5  # of each image, the first so many; none: all


@dataclasses.dataclass(frozen=True)
class Svm:
    """Linear SVMs, one class against the rest, on frozen features of images with several labels.

    Defaults: the protocol of VOC07 classification (Goyal et al. 2019) as VISSL runs it on a
    ResNet-50: LIBLINEAR's dual solver, squared hinge, |w|^2 / 2 with the intercept in w.
    """

    # VISSL's list for ResNet-50. The paper's: 10^-7 ... 10^2 and 2^-19 ... 2^-4.
    costs: tuple[float, ...] = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)
    folds: int = 3  # stratified and in order; the cost with the best mean average precision is taken
    positive_weight: float = 2.0  # of a positive's loss; a negative's is 1
    tolerance: float = 1e-4  # where LIBLINEAR stops
    max_iterations: int = 2000  # of LIBLINEAR
    normalize: bool = True  # features f / (|f| + 1e-5)
    # What an image is to a class of which it shows difficult objects alone. VISSL trains on it as a
    # negative. Testing leaves it out, as VOC does.
    difficult: Literal["negative", "left_out"] = "negative"
    # Of the test: the area under the interpolated curve, as in VISSL (and VOC from 2010 on), or the mean at
    # recalls 0, 0.1 ... 1 (VOC07's own).
    average_precision: Literal["interpolated", "eleven_point"] = "interpolated"
