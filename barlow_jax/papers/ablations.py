"""Ablations of the Barlow Twins and VICReg papers as data: each changes some config keys of a base config.

The papers' bases are `ablations` (300 epochs) and `ablations:vicreg` (100 epochs). Changes are relative to
the base where the papers' are (learning rate by batch size, width of the projector at the same depth), to
suit small bases too.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

from barlow_jax.config.schema import Config
from barlow_jax.papers.published import ABLATION_BASELINE, Accuracy

# A value, or a function that computes it from the base.
Change = Any | Callable[[Config], Any]


@dataclasses.dataclass(frozen=True)
class Ablation:
    """One row of the table: changed keys, and the published accuracy."""

    group: str
    name: str  # unique in its group
    changes: Mapping[str, Change]  # by config key
    published: Accuracy = Accuracy()

    def apply(self, base: Config) -> Config:
        """Return the base with only these keys changed."""
        return base.replace({key: c(base) if callable(c) else c for key, c in self.changes.items()})


def _twins(**settings: Any) -> dict[str, Any]:
    return {f"objective.barlow_twins.{name}": value for name, value in settings.items()}


def _rate(factor: float) -> dict[str, Change]:
    """Return the change that multiplies the learning rate, {} for a factor of 1."""
    if factor == 1:
        return {}
    return {"optim.learning_rate": lambda base: round(base.optim.learning_rate * factor, 12)}


def _views(**changes: float) -> dict[str, float]:
    """Return changes that set op probabilities in both views."""
    return {f"recipe.views.{view}.{op}.probability": p for view in "ab" for op, p in changes.items()}


def _width(width: int) -> Callable[[Config], tuple[int, ...]]:
    """Change the width of all layers, as the authors did (their issue 48), at the base's depth."""
    return lambda base: (width,) * len(base.network.projector)


def _depth(depth: int) -> Callable[[Config], tuple[int, ...]]:
    return lambda base: (base.network.projector[-1],) * depth


_NO_BN = {"network.projector_batch_norm": False}
_PREDICTOR = {"network.predictor": _depth(2)}
_NO_COLOR = _views(jitter=0.0, grayscale=0.0)
_CROP_AND_BLUR = {**_NO_COLOR, **_views(flip=0.0), "recipe.views.b.solarize.probability": 0.0}

ABLATIONS = (
    # Table 5.
    Ablation("loss", "only_invariance", _twins(off_diagonal_weight=0.0), Accuracy(57.3, 80.5)),
    Ablation("loss", "only_redundancy", _twins(invariance_weight=0.0), Accuracy(0.1, 0.5)),
    Ablation("loss", "along_features", _twins(normalization="sample"), Accuracy(69.8, 88.8)),
    Ablation("loss", "no_projector_bn", _NO_BN, Accuracy(71.2, 89.7)),
    Ablation("loss", "no_normalization", {**_NO_BN, **_twins(normalization="none")}, Accuracy(53.4, 76.7)),
    # The paper states neither temperature nor weight; these are our choice.
    Ablation("loss", "cross_entropy", _twins(temperature=0.1, off_diagonal_weight=1.0), Accuracy(63.3, 85.7)),
    # Table 6. The predictor is two fully connected layers as wide as the embedding, on one branch.
    Ablation("asymmetry", "stop_gradient", _twins(stop_gradient=True), Accuracy(70.5, 89.0)),
    Ablation("asymmetry", "predictor", _PREDICTOR, Accuracy(70.2, 89.0)),
    Ablation("asymmetry", "both", {**_twins(stop_gradient=True), **_PREDICTOR}, Accuracy(61.3, 83.5)),
    # The authors' table of batch sizes with their rates per 256 images, 0.2 at 2048 (their issue 7).
    *(
        Ablation("batch_size", str(size), {"train.batch_size": size, **_rate(rate / 0.2)}, Accuracy(top1))
        for size, rate, top1 in (
            (128, 0.7, 69.7),
            (256, 0.4, 70.7),
            (512, 0.3, 71.4),
            (1024, 0.25, 71.7),
            (4096, 0.2, 70.7),
        )
    ),
    # Figure 3, ops removed one after the other; the values are only plotted.
    Ablation("augmentation", "no_grayscale", _views(grayscale=0.0)),
    Ablation("augmentation", "no_color", _NO_COLOR),
    Ablation("augmentation", "crop_and_blur", _CROP_AND_BLUR),
    Ablation("augmentation", "crop", {**_CROP_AND_BLUR, **_views(blur=0.0)}),
    # Figure 4: accuracy rises with the width; lambda is unchanged. Section 4: depth saturates at 3.
    *(
        Ablation("width", str(width), {"network.projector": _width(width)})
        for width in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)
    ),
    *(Ablation("depth", str(depth), {"network.projector": _depth(depth)}) for depth in (1, 2, 4)),
    # Figure 5: between 70.8 and 71.6 everywhere.
    *(
        Ablation("lambda", f"{weight:g}", _twins(off_diagonal_weight=weight))
        for weight in (0.002, 0.005, 0.007, 0.01, 0.015, 0.02)
    ),
    # Footnote: "similar".
    Ablation("correlation", "auto", _twins(off_diagonal="auto")),
)


def _vicreg(invariance: float, variance: float, covariance: float) -> dict[str, Any]:
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return {f"objective.vicreg.{term}_weight": weight for term, weight in weights.items()}


def _with_predictor(name: str, weight: float) -> dict[str, Any]:
    """Return the changes to BYOL or SimSiam, with the head of the base and a predictor of its width."""
    head = {**_PREDICTOR, "network.projector_output_norm": name == "simsiam"}
    return {"objective.name": name, f"objective.{name}.variance_weight": weight, **head}


def _branch(encoder: str | None) -> dict[str, Any]:
    return {"network.branches": "own", "network.second_encoder": encoder}


# Of Bardes et al. 2022, 100 epochs; without the variance term, the embeddings collapse.
VICREG = (
    Ablation("coefficients", "10_10_1", _vicreg(10.0, 10.0, 1.0), Accuracy(68.2)),
    Ablation("coefficients", "5_5_1", _vicreg(5.0, 5.0, 1.0), Accuracy(68.1)),
    Ablation("coefficients", "1_1_0", _vicreg(1.0, 1.0, 0.0), Accuracy(57.5)),
    Ablation("coefficients", "no_variance", {"objective.vicreg.variance_weight": 0.0}),
    # Table 4. BYOL and SimSiam were trained by their own recipes there, as `byol:variance_imagenet` is.
    *(
        Ablation("variance", name + "_variance" * bool(weight), _with_predictor(name, weight), Accuracy(top1))
        for name, weight, top1 in (
            ("byol", 0.0, 69.3),
            ("byol", 1.0, 70.2),
            ("simsiam", 0.0, 67.9),
            ("simsiam", 1.0, 68.1),
        )
    ),
    # Table 5.
    Ablation("branches", "own", _branch(None), Accuracy(66.5)),
    Ablation("branches", "resnet101", _branch("resnet101"), Accuracy(68.1)),
    Ablation("branches", "vit_small", _branch("vit_small"), Accuracy(66.2)),
    # Of the expander's hidden layers, and of the embeddings.
    Ablation("normalization", "no_expander_bn", _NO_BN),
    Ablation("normalization", "standardized", {"network.projector_output_norm": True}),
    *(
        Ablation("width", str(width), {"network.projector": _width(width)})
        for width in (256, 512, 1024, 2048, 4096, 16384)
    ),
    # The official code's rates per 256 images at 100 epochs, 0.3 at 2048.
    *(
        Ablation("batch_size", str(size), {"train.batch_size": size, **_rate(rate / 0.3)})
        for size, rate in ((128, 0.8), (256, 0.5), (512, 0.4))
    ),
)


class Table(NamedTuple):
    """Ablations of a paper, and what it reports for their base."""

    ablations: tuple[Ablation, ...]
    baseline: Accuracy

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the ablations, in order."""
        return tuple(dict.fromkeys(ablation.group for ablation in self.ablations))


TABLES = {"barlow_twins": Table(ABLATIONS, ABLATION_BASELINE), "vicreg": Table(VICREG, Accuracy(68.6))}
