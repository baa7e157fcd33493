"""The constants of each method as its paper and its official code have them, and what it needs of the network."""

from collections.abc import Mapping
import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class BarlowTwins:
    """Equation 1 of Zbontar et al. 2021; what follows the two weights are the paper's ablations."""

    invariance_weight: float = 1.0  # of the diagonal's term
    off_diagonal_weight: float = 0.0051  # lambda (the paper rounds to 5e-3)
    # What embeddings go through before they are correlated: mean 0 and variance 1 over the batch; that, and
    # then each image's to length 1; mean 0 alone.
    normalization: Literal["batch", "sample", "none"] = "batch"
    off_diagonal: Literal["cross", "auto"] = "cross"  # between the views, or of view a with itself
    temperature: float | None = None  # a cross-entropy of C in the squares' place; none: the squares
    stop_gradient: bool = False  # through view b


@dataclasses.dataclass(frozen=True)
class Vicreg:
    """Bardes, Ponce, LeCun 2022, equation 6."""

    invariance_weight: float = 25.0  # lambda
    variance_weight: float = 25.0  # mu
    covariance_weight: float = 1.0  # nu
    # The official code takes the mean of both views' variance terms, the paper their sum.
    variance_factor: Literal["code", "paper"] = "code"
    target_std: float = 1.0  # gamma: of each feature, above which there is no variance term
    epsilon: float = 1e-4  # added to the variance under the root


@dataclasses.dataclass(frozen=True)
class WMse:
    """Ermolov et al. 2021, algorithm 1."""

    sub_batch: int = 128  # rows that are whitened together, twice the embedding's width at least
    iterations: int = 1  # w_iter: how often the batch is cut up anew
    # Share of the identity in the covariance: (1 - s) cov + s I. 0 in the official recipes, where a singular
    # covariance is an error.
    shrinkage: float = 0.0


@dataclasses.dataclass(frozen=True)
class Simclr:
    """NT-Xent of Chen et al. 2020, equation 1."""

    temperature: float = 0.1  # on ImageNet; 0.5 on CIFAR-10


@dataclasses.dataclass(frozen=True)
class Byol:
    """Grill et al. 2020; the last two are what table 4 of VICReg adds."""

    # Of the target's moving average at the start; 1 at the end, by a cosine (equation 3). The paper's, at 1000 epochs.
    # 0: no average, the target is the network itself.
    target_momentum: float = 0.996
    variance_weight: float = 0.0
    covariance_weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class Simsiam:
    """Chen and He 2021, equation 4; the two weights are what table 4 of VICReg adds."""

    variance_weight: float = 0.0
    covariance_weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class Moco:
    """MoCo v2: InfoNCE of He et al. 2020, equation 1, with the head and views of Chen et al. 2020."""

    temperature: float = 0.2
    target_momentum: float = 0.999  # of the key encoder
    queue_size: int = 65536  # keys, a multiple of the batch


@dataclasses.dataclass(frozen=True)
class Swav:
    """Caron et al. 2020, equations 1 to 5."""

    temperature: float = 0.1
    epsilon: float = 0.05  # of Sinkhorn-Knopp: the entropy of the codes
    sinkhorn_iterations: int = 3
    queue_size: int = 0  # embeddings of each of the two full views, a multiple of the batch; 0: none
    queue_from_epoch: float = 15.0  # the queue fills from here on, and takes part when it is full
    freeze_prototypes_epochs: float = 1.0  # prototypes do not learn before (313 steps of 4096 images)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What a method must find in the config; what the two sets do not name must be off."""

    views: tuple[str, ...] = ("a", "b")
    extra_views: bool = False  # others may be there too
    required_heads: frozenset[str] = frozenset({"projector"})  # that must be on, of HEADS
    optional_heads: frozenset[str] = frozenset()  # that may be
    separate_branches: bool = False  # view b may have a network of its own


@dataclasses.dataclass(frozen=True)
class Advice:
    """What helps, in the words of the method's own keys, beside what helps all of them."""

    not_finite: str = ""  # where its loss was not, again and again
    collapsed: str = ""  # where all embeddings have become one vector


# Keys of `config.network`, and what they are where there is no such head.
HEADS: Mapping[str, tuple[int, ...] | int] = {
    "projector": (),
    "predictor": (),
    "prototypes": 0,
    "num_classes": 0,
}
_PROJECTOR, _PREDICTOR = frozenset({"projector"}), frozenset({"projector", "predictor"})
# By the name of the method's file in `objectives/`. A method that is not here is not checked.
REQUIREMENTS: Mapping[str, Requirements] = {
    "barlow_twins": Requirements(optional_heads=frozenset({"predictor"}), separate_branches=True),
    "byol": Requirements(optional_heads=frozenset({"predictor"})),
    "classification": Requirements(("a",), required_heads=frozenset({"num_classes"})),
    "moco": Requirements(),
    "simclr": Requirements(),
    "simsiam": Requirements(required_heads=_PREDICTOR),
    "swav": Requirements(extra_views=True, required_heads=_PROJECTOR | {"prototypes"}),
    "vicreg": Requirements(separate_branches=True),
    "w_mse": Requirements(extra_views=True),
}
# As the papers' tables call them.
TITLES = {
    "barlow_twins": "Barlow Twins",
    "byol": "BYOL",
    "classification": "Supervised",
    "moco": "MoCo v2",
    "simclr": "SimCLR",
    "simsiam": "SimSiam",
    "swav": "SwAV",
    "vicreg": "VICReg",
    "w_mse": "W-MSE",
}
ADVICE: Mapping[str, Advice] = {
    "byol": Advice(
        collapsed="--config.network.predictor, --config.objective.byol.target_momentum above 0, or "
        "--config.objective.byol.variance_weight=1"
    ),
    "simsiam": Advice(collapsed="--config.objective.simsiam.variance_weight=1"),
    "vicreg": Advice(collapsed="a larger --config.objective.vicreg.variance_weight"),
    "w_mse": Advice(
        not_finite="where smallest_pivot in the metrics is 0, a covariance was singular: a larger "
        "--config.objective.w_mse.sub_batch, a narrower last width of --config.network.projector, or "
        "--config.objective.w_mse.shrinkage above 0"
    ),
}
