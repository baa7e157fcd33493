"""Constants of each method as its paper and official code have them."""

import dataclasses
from typing import Literal

from barlow_jax.config.fields import field

_VARIANCE = "Weight of VICReg's variance term (table 4 of VICReg)."
_COVARIANCE = "Weight of VICReg's covariance term (table 4 of VICReg)."


@dataclasses.dataclass(frozen=True)
class BarlowTwins:
    """Equation 1 of Zbontar et al. 2021, and the paper's ablations of it."""

    invariance_weight: float = field(1.0, "Weight of the diagonal term.", min=0)
    off_diagonal_weight: float = field(
        0.0051, "Weight lambda of the off-diagonal term (rounded to 5e-3 in the paper).", min=0
    )
    normalization: Literal["batch", "sample", "none"] = field(
        "batch",
        "Normalization of embeddings before the correlation. batch: mean 0 and variance 1 over the batch. "
        "sample: that, then each image's embedding to length 1. none: mean 0 only.",
    )
    off_diagonal: Literal["cross", "auto"] = field(
        "cross", "Matrix of the off-diagonal term: correlation between the views, or of view a with itself."
    )
    temperature: float | None = field(
        None, "Temperature of a cross-entropy over C that replaces the squares; none = squares.", above=0
    )
    stop_gradient: bool = field(False, "Stop the gradient through view b.")


@dataclasses.dataclass(frozen=True)
class Vicreg:
    """Equation 6 of Bardes, Ponce, LeCun 2022."""

    invariance_weight: float = field(25.0, "Weight lambda of the invariance term.", min=0)
    variance_weight: float = field(25.0, "Weight mu of the variance term.", min=0)
    covariance_weight: float = field(1.0, "Weight nu of the covariance term.", min=0)
    variance_factor: Literal["code", "paper"] = field(
        "code", "code: mean of both views' variance terms, as in the official code. paper: their sum."
    )
    target_std: float = field(
        1.0, "Standard deviation gamma of a feature above which its variance term is 0.", above=0
    )
    epsilon: float = field(1e-4, "Added to the variance under the square root.", above=0)


@dataclasses.dataclass(frozen=True)
class WMse:
    """Algorithm 1 of Ermolov et al. 2021."""

    sub_batch: int = field(
        128, "Rows that are whitened together; at least twice the embedding's width.", min=1
    )
    iterations: int = field(1, "w_iter: number of random partitions of the batch into sub-batches.", min=1)
    shrinkage: float = field(
        0.0,
        "Fraction s of the identity in the covariance, (1 - s) cov + s I. 0 in the official recipes, where "
        "a singular covariance is an error.",
        min=0,
        max=1,
    )


@dataclasses.dataclass(frozen=True)
class Simclr:
    """NT-Xent, equation 1 of Chen et al. 2020."""

    temperature: float = field(
        0.1, "Temperature of the softmax. Paper: 0.1 on ImageNet, 0.5 on CIFAR-10.", above=0
    )


@dataclasses.dataclass(frozen=True)
class Byol:
    """Grill et al. 2020, with the two terms that table 4 of VICReg adds."""

    target_momentum: float = field(
        0.996,
        "Momentum of the target network's moving average at the start; it rises to 1 by a cosine (equation "
        "3). Default: the paper's for 1000 epochs. 0 = no average, the target is the network itself.",
        min=0,
        max=1,
    )
    variance_weight: float = field(0.0, _VARIANCE, min=0)
    covariance_weight: float = field(0.0, _COVARIANCE, min=0)


@dataclasses.dataclass(frozen=True)
class Simsiam:
    """Equation 4 of Chen and He 2021, with the two terms that table 4 of VICReg adds."""

    variance_weight: float = field(0.0, _VARIANCE, min=0)
    covariance_weight: float = field(0.0, _COVARIANCE, min=0)


@dataclasses.dataclass(frozen=True)
class Moco:
    """MoCo v2: InfoNCE (He et al. 2020, equation 1) with the head and views of Chen et al. 2020."""

    temperature: float = field(0.2, "Temperature of the softmax.", above=0)
    target_momentum: float = field(0.999, "Momentum of the key encoder's moving average.", min=0, max=1)
    queue_size: int = field(65536, "Keys in the queue, a multiple of the batch.", min=1)


@dataclasses.dataclass(frozen=True)
class Swav:
    """Equations 1 to 5 of Caron et al. 2020."""

    temperature: float = field(0.1, "Temperature of the softmax over prototypes.", above=0)
    epsilon: float = field(
        0.05, "Entropy regularization of Sinkhorn-Knopp: larger is smoother codes.", above=0
    )
    sinkhorn_iterations: int = field(3, "Iterations of Sinkhorn-Knopp.", min=1)
    queue_size: int = field(
        0, "Queued embeddings of each of the two full views, a multiple of the batch; 0 = no queue.", min=0
    )
    queue_from_epoch: float = field(
        15.0, "Epoch from which the queue is filled. It takes part once it is full.", min=0
    )
    freeze_prototypes_epochs: float = field(
        1.0, "Prototypes are frozen for the first epochs (official code: 313 steps of 4096 images).", min=0
    )


@dataclasses.dataclass(frozen=True)
class Sigreg:
    """LeJEPA (Balestriero and LeCun 2025)."""

    weight: float = field(
        0.05,
        "Weight lambda of the statistic of the projections; the invariance has 1 - lambda.",
        min=0,
        max=1,
    )
    projections: int = field(1024, "Random projections M of the embeddings, new in every step.", min=1)


@dataclasses.dataclass(frozen=True)
class Intl:
    """Iterative normalization with trace loss (Weng et al. 2024)."""

    iterations: int = field(4, "Newton iterations of the normalization.", min=1)
    trace_weight: float | None = field(
        None, "Weight beta of the trace loss; none = 0.01 (log2 of the batch size - 3).", min=0
    )


@dataclasses.dataclass(frozen=True)
class EmpSsl:
    """Equation 4 of Tong et al. 2023."""

    similarity_weight: float = field(200.0, "Weight of the cosine between a view and the mean view.", min=0)
    distortion: float = field(
        0.2, "Squared distortion of the total coding rate (`eps` in the official code).", above=0
    )


@dataclasses.dataclass(frozen=True)
class Npid:
    """Equations 2 and 4 to 7 of Wu et al. 2018."""

    temperature: float = field(0.07, "Temperature of the softmax. Official code: 0.1 on CIFAR-10.", above=0)
    momentum: float = field(0.5, "Weight of the old row of an image in the memory bank.", min=0, below=1)
    negatives: int = field(
        0, "Images that are sampled in each step to compare with; 0 = all images, the exact softmax.", min=0
    )
    loss: Literal["softmax", "nce"] = field(
        "softmax", "softmax: cross-entropy over the images. nce: noise-contrastive estimation of it."
    )


@dataclasses.dataclass(frozen=True)
class Pirl(Npid):
    """Equation 5 of Misra and van der Maaten 2020, with the memory bank and the losses of `npid`."""

    temperature: float = field(0.1, "Temperature of the softmax. Version 1: 0.07.", above=0)
    negatives: int = field(
        32000, "Images that are sampled in each step to compare with; 0 = all images.", min=0
    )
    patch_weight: float = field(
        0.5, "Weight lambda of the patches' term; the image's has 1 - lambda.", min=0, max=1
    )


@dataclasses.dataclass(frozen=True)
class Jigsaw:
    """Noroozi and Favaro 2016."""

    permutations: int = field(
        2000, "Permutations of the nine patches to tell apart; at most 362 880.", min=2, max=362880
    )


@dataclasses.dataclass(frozen=True)
class Deepcluster:
    """DeepCluster-v2 (Caron et al. 2020)."""

    clusters: int = field(3000, "Clusters of each clustering.", min=2)
    heads: int = field(3, "Clusterings, by turns of the embeddings of view a and of view b.", min=1)
    iterations: int = field(10, "Iterations of k-means after each epoch.", min=1)
    temperature: float = field(0.1, "Temperature of the softmax over centroids.", above=0)
    sinkhorn_epsilon: float | None = field(
        None,
        "Entropy regularization of an assignment by Sinkhorn-Knopp, with equally large clusters, as in SeLa; "
        "none = the nearest centroid.",
        above=0,
    )
    classifier_learning_rate: float | None = field(
        None,
        "Learning rate per 256 images of a linear classifier that starts again after each clustering, as in "
        "DeepCluster (2018); none = the centroids are the classifier.",
        above=0,
    )


@dataclasses.dataclass(frozen=True)
class Pcl:
    """PCL v2 (Li et al. 2021)."""

    clusters: tuple[int, ...] = field(
        (25000, 50000, 100000), "Numbers of clusters, one for each clustering.", min=2, non_empty=True
    )
    iterations: int = field(20, "Iterations of k-means after each epoch.", min=1)
    negatives: int = field(
        16384, "Prototypes that each step samples per clustering, in addition to those of the batch.", min=1
    )
    temperature: float = field(
        0.2, "Temperature of InfoNCE, and mean concentration of the clusters.", above=0
    )
    warmup_epochs: float = field(20.0, "Number of first epochs with InfoNCE alone.", min=0)
    target_momentum: float = field(0.999, "Momentum of the key encoder's moving average.", min=0, max=1)
    queue_size: int = field(16384, "Keys in the queue, a multiple of the batch.", min=1)


@dataclasses.dataclass(frozen=True)
class MixedBarlowTwins:
    """Bandara et al. 2023."""

    off_diagonal_weight: float = field(1 / 128, "Weight lambda of the off-diagonal term.", min=0)
    mixing_weight: float = field(4.0, "Weight of the mixtures' term, in units of lambda.", min=0)


@dataclasses.dataclass(frozen=True)
class Vse:
    """Equation 6 of Faghri et al. 2018."""

    margin: float = field(0.2, "Margin of the hinge, in units of the cosine.", min=0)


@dataclasses.dataclass(frozen=True)
class Objective:
    """The method and its settings."""

    name: str = field("barlow_twins", "Method, or one of your own (docs/extending.md).", part="objective")
    scale: float = field(1.0, "Factor of the whole loss.", above=0)
    form: Literal["auto", "direct", "gram"] = field(
        "auto",
        "Matrices of losses that correlate features: D x D (direct) or N x N (gram); auto = the cheaper one.",
    )
    operand_dtype: Literal["float32", "bfloat16"] = field(
        "float32", "Precision of the operands of the large matrix products."
    )
    barlow_twins: BarlowTwins = BarlowTwins()
    vicreg: Vicreg = Vicreg()
    w_mse: WMse = WMse()
    simclr: Simclr = Simclr()
    byol: Byol = Byol()
    simsiam: Simsiam = Simsiam()
    moco: Moco = Moco()
    swav: Swav = Swav()
    sigreg: Sigreg = Sigreg()
    intl: Intl = Intl()
    emp_ssl: EmpSsl = EmpSsl()
    npid: Npid = Npid()
    pirl: Pirl = Pirl()
    jigsaw: Jigsaw = Jigsaw()
    deepcluster: Deepcluster = Deepcluster()
    pcl: Pcl = Pcl()
    mixed_barlow_twins: MixedBarlowTwins = MixedBarlowTwins()
    vse: Vse = Vse()
