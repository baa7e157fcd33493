"""What is wrong with the settings of the evaluations."""

from collections.abc import Iterator
import math

from barlow_jax.config.schema import Config, Finetune, Knn, Probe, Retrieval, Svm
from barlow_jax.config.validation import bounds


def evaluation_problems(config: Config) -> Iterator[str]:
    """Of all evaluations of a config."""
    yield from _probe("probe", config.probe)
    yield from _knn(config.knn)
    yield from _finetune(config.finetune)
    yield from _retrieval(config.retrieval)
    for name, transfer in config.transfer.items():
        yield from _probe(f"transfer.{name}.probe", transfer.probe)
        yield from _svm(f"transfer.{name}.svm", transfer.svm)


def _probe(prefix: str, probe: Probe) -> Iterator[str]:
    """What is wrong with a Probe that stands at `config.<prefix>`."""
    positive = (
        "num_epochs",
        "batch_size",
        "learning_rate",
        "decay",
        "max_iterations",
        "tolerance",
        "subset_repeats",
    )
    yield from bounds.outside(
        positive=bounds.members(prefix, probe, *positive),
        not_negative=bounds.members(prefix, probe, "weight_decay", "min_steps"),
        below_one=bounds.members(prefix, probe, "momentum"),
    )
    yield from _label_fractions(prefix, probe.label_fractions)
    yield from _milestones(prefix, probe.milestones)
    if probe.nesterov and probe.momentum == 0:
        yield f"config.{prefix}.nesterov: needs config.{prefix}.momentum above 0"
    if probe.solver == "lbfgs" and probe.augment:
        yield (
            f"config.{prefix}.solver: lbfgs needs features that are computed once; "
            f"set config.{prefix}.augment=false"
        )


def _svm(prefix: str, svm: Svm) -> Iterator[str]:
    """What is wrong with an Svm that stands at `config.<prefix>`."""
    yield from bounds.outside(
        positive=bounds.members(prefix, svm, "positive_weight", "tolerance", "max_iterations")
    )
    if not svm.costs or not all(0 < cost < math.inf for cost in svm.costs):
        yield f"config.{prefix}.costs: needs one or more numbers above 0, got {svm.costs}"
    if svm.folds < 2:
        yield f"config.{prefix}.folds: cross-validation needs 2 or more, got {svm.folds}"


def _knn(knn: Knn) -> Iterator[str]:
    yield from bounds.outside(positive=bounds.members("knn", knn, "temperature", "subset_repeats"))
    yield from _label_fractions("knn", knn.label_fractions)
    if not knn.k or min(knn.k) < 1:
        yield f"config.knn.k: needs one or more numbers from 1, got {knn.k}"
    if any(k < 1 for k in knn.euclidean_k):
        yield f"config.knn.euclidean_k: needs numbers from 1, got {knn.euclidean_k}"


def _finetune(finetune: Finetune) -> Iterator[str]:
    rates = ("encoder_learning_rate", "head_learning_rate", "decay")
    yield from bounds.outside(
        positive=bounds.members("finetune", finetune, "num_epochs", "batch_size", "subset_repeats", *rates),
        not_negative=bounds.members("finetune", finetune, "weight_decay"),
        below_one=bounds.members("finetune", finetune, "momentum"),
    )
    yield from _label_fractions("finetune", finetune.label_fractions)
    yield from _milestones("finetune", finetune.milestones)


def _retrieval(retrieval: Retrieval) -> Iterator[str]:
    if not retrieval.k or min(retrieval.k) < 1:
        yield f"config.retrieval.k: needs one or more numbers from 1, got {retrieval.k}"
    if retrieval.captions_per_image is not None and retrieval.captions_per_image < 1:
        yield f"config.retrieval.captions_per_image: must be 1 or more, or none for all, got {retrieval.captions_per_image}"


def _milestones(prefix: str, values: tuple[float, ...]) -> Iterator[str]:
    if list(values) != sorted({m for m in values if 0 < m < 1}):
        yield f"config.{prefix}.milestones: needs rising shares of the epochs in 0..1, got {values}"


def _label_fractions(prefix: str, values: tuple[float, ...]) -> Iterator[str]:
    if not values or not all(0 < value <= 1 for value in values):
        yield f"config.{prefix}.label_fractions: needs numbers above 0 and up to 1, got {values}"
