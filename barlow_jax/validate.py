"""What cannot work is said before anything slow starts, all of it at once."""

from collections.abc import Iterator, Mapping
import dataclasses
import math
from typing import Any

from barlow_jax.config import Config, Finetune, Knn, Probe, Svm
from barlow_jax.recipe import OPS, View

_VIEWS = {"barlow_twins": ("a", "b"), "classification": ("a",)}
# Pixels of the image to one of the stem's output; each stage after the first halves that again.
_STEM_STRIDE = {"imagenet": 4, "cifar": 1}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the machine and the data set say; None and absent where it is not known."""

    num_devices: int | None = None
    num_images: Mapping[str, int] = dataclasses.field(default_factory=dict)  # by split


def validate(config: Config, facts: Facts) -> list[str]:
    """Every problem of a config, one sentence each; empty when the run can start."""
    checks = (
        _ranges(config), probe_problems("probe", config.probe), _knn(config.knn), _finetune(config.finetune),
        _transfer(config),
        _recipe(config), _objective(config), _shapes(config), _mesh(config, facts), _sizes(config, facts),
    )  # fmt: skip
    return [problem for check in checks for problem in check]


def _ranges(config: Config) -> Iterator[str]:
    positive = {
        "train.num_epochs": config.train.num_epochs,
        "train.microbatches": config.train.microbatches,
        "train.log_every_steps": config.train.log_every_steps,
        "eval_batch_size": config.eval_batch_size,
        "network.width": config.network.width,
        "network.batch_norm_epsilon": config.network.batch_norm_epsilon,
        "optim.learning_rate": config.optim.learning_rate,
        "optim.trust_coefficient": config.optim.trust_coefficient,
        "optim.grad_scale": config.optim.grad_scale,
        "objective.scale": config.objective.scale,
        "checkpoint.every_epochs": config.checkpoint.every_epochs,
        "checkpoint.keep_newest": config.checkpoint.keep_newest,
        "monitor.k": config.monitor.k,
        "monitor.max_images": config.monitor.max_images,
        "data.image_size": config.data.image_size,
        "data.prefetch": config.data.prefetch,
        "distributed.initialization_timeout_s": config.distributed.initialization_timeout_s,
        "distributed.heartbeat_timeout_s": config.distributed.heartbeat_timeout_s,
        "distributed.shutdown_timeout_s": config.distributed.shutdown_timeout_s,
    }
    optional = {
        "train.max_steps": config.train.max_steps,
        "optim.bias_learning_rate": config.optim.bias_learning_rate,
        "objective.temperature": config.objective.temperature,
        "checkpoint.keep_every_epochs": config.checkpoint.keep_every_epochs,
    }
    positive |= {key: value for key, value in optional.items() if value is not None}
    not_negative = {
        "seed": config.seed,
        "data.threads": config.data.threads,
        "objective.invariance_weight": config.objective.invariance_weight,
        "objective.off_diagonal_weight": config.objective.off_diagonal_weight,
        "optim.weight_decay": config.optim.weight_decay,
        "optim.warmup_epochs": config.optim.warmup_epochs,
        "monitor.every_epochs": config.monitor.every_epochs,
    }
    fractions = {
        "optim.final_scale": config.optim.final_scale,
        "network.batch_norm_momentum": config.network.batch_norm_momentum,
    }
    below_one = {"optim.momentum": config.optim.momentum}
    yield from _outside(positive, not_negative, fractions, below_one)
    if config.optim.warmup_epochs > config.train.num_epochs:
        yield (
            f"config.optim.warmup_epochs: {config.optim.warmup_epochs} is longer than the run of "
            f"config.train.num_epochs = {config.train.num_epochs}"
        )


def probe_problems(prefix: str, probe: Probe) -> Iterator[str]:
    """What is wrong with a Probe that stands at `config.<prefix>`."""
    positive = (
        "num_epochs",
        "batch_size",
        "learning_rate",
        "decay",
        "max_iterations",
        "tolerance",
        "subset_draws",
    )
    yield from _outside(
        positive=_members(prefix, probe, *positive),
        not_negative=_members(prefix, probe, "weight_decay", "min_steps"),
        below_one=_members(prefix, probe, "momentum"),
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


def svm_problems(prefix: str, svm: Svm) -> Iterator[str]:
    """What is wrong with an Svm that stands at `config.<prefix>`."""
    yield from _outside(positive=_members(prefix, svm, "positive_weight", "tolerance", "max_iterations"))
    if not svm.costs or not all(0 < cost < math.inf for cost in svm.costs):
        yield f"config.{prefix}.costs: needs one or more numbers above 0, got {svm.costs}"
    if svm.folds < 2:
        yield f"config.{prefix}.folds: cross-validation needs 2 or more, got {svm.folds}"


def _knn(knn: Knn) -> Iterator[str]:
    yield from _outside(positive=_members("knn", knn, "temperature", "subset_draws"))
    yield from _label_fractions("knn", knn.label_fractions)
    if not knn.k or min(knn.k) < 1:
        yield f"config.knn.k: needs one or more numbers from 1, got {knn.k}"
    if any(k < 1 for k in knn.euclidean_k):
        yield f"config.knn.euclidean_k: needs numbers from 1, got {knn.euclidean_k}"


def _finetune(finetune: Finetune) -> Iterator[str]:
    rates = ("encoder_learning_rate", "head_learning_rate", "decay")
    yield from _outside(
        positive=_members("finetune", finetune, "num_epochs", "batch_size", "subset_draws", *rates),
        not_negative=_members("finetune", finetune, "weight_decay"),
        below_one=_members("finetune", finetune, "momentum"),
    )
    yield from _label_fractions("finetune", finetune.label_fractions)
    yield from _milestones("finetune", finetune.milestones)


def _transfer(config: Config) -> Iterator[str]:
    for name, transfer in config.transfer.items():
        yield from probe_problems(f"transfer.{name}.probe", transfer.probe)
        yield from svm_problems(f"transfer.{name}.svm", transfer.svm)


def _milestones(prefix: str, values: tuple[float, ...]) -> Iterator[str]:
    if list(values) != sorted({m for m in values if 0 < m < 1}):
        yield f"config.{prefix}.milestones: needs rising shares of the epochs in 0..1, got {values}"


def _label_fractions(prefix: str, values: tuple[float, ...]) -> Iterator[str]:
    if not values or not all(0 < value <= 1 for value in values):
        yield f"config.{prefix}.label_fractions: needs numbers above 0 and up to 1, got {values}"


def _members(prefix: str, record: Any, *names: str) -> dict[str, float]:
    return {f"{prefix}.{name}": getattr(record, name) for name in names}


def _outside(
    positive: Mapping[str, float],
    not_negative: Mapping[str, float] = {},
    fractions: Mapping[str, float] = {},
    below_one: Mapping[str, float] = {},
) -> Iterator[str]:
    """The numbers, by their keys, that lie outside of what their group allows."""
    yield from (f"config.{k}: must be above 0, got {v}" for k, v in positive.items() if not 0 < v < math.inf)
    yield from (f"config.{k}: must not be negative, got {v}" for k, v in not_negative.items() if not v >= 0)
    yield from (f"config.{k}: must lie in 0..1, got {v}" for k, v in fractions.items() if not 0 <= v <= 1)
    yield from (
        f"config.{k}: must lie in 0..1, 1 excluded, got {v}" for k, v in below_one.items() if not 0 <= v < 1
    )


def _recipe(config: Config) -> Iterator[str]:
    needed = _VIEWS[config.objective.name]
    if sorted(config.recipe.views) != sorted(needed):
        yield (
            f"config.recipe.views: {config.objective.name} needs {' and '.join(needed)} and no other, "
            f"got {', '.join(sorted(config.recipe.views))}"
        )
    for name, view in config.recipe.views.items():
        yield from (f"config.recipe.views.{name}.{problem}" for problem in _view(view))


def _view(view: View) -> Iterator[str]:
    if sorted(view.order) != sorted(OPS):
        yield f"order: must name each op once ({', '.join(OPS)}), got {', '.join(view.order)}"
    elif view.order[-1] != "normalize":
        yield f"order: normalize must be last, got {', '.join(view.order)}"
    for op in OPS:
        probability = getattr(getattr(view, op), "probability", 0.0)
        if not 0 <= probability <= 1:
            yield f"{op}.probability: must lie in 0..1, got {probability}"
    crop, jitter, blur = view.crop, view.jitter, view.blur
    if not 0 < crop.min_area <= crop.max_area <= 1:
        yield f"crop: needs 0 < min_area <= max_area <= 1, got {crop.min_area} and {crop.max_area}"
    if not 0 < crop.min_aspect <= crop.max_aspect:
        yield f"crop: needs 0 < min_aspect <= max_aspect, got {crop.min_aspect} and {crop.max_aspect}"
    if min(jitter.brightness, jitter.contrast, jitter.saturation) < 0 or not 0 <= jitter.hue <= 0.5:
        yield "jitter: brightness, contrast and saturation must not be negative, hue must lie in 0..0.5"
    if not 0 <= blur.min_sigma <= blur.max_sigma:
        yield f"blur: needs 0 <= min_sigma <= max_sigma, got {blur.min_sigma} and {blur.max_sigma}"
    if not 0 <= view.solarize.threshold <= 256:
        yield f"solarize.threshold: must lie in 0..256, got {view.solarize.threshold}"
    if len(view.normalize.mean) != 3 or len(view.normalize.std) != 3 or min(view.normalize.std) <= 0:
        yield "normalize: mean and std need three numbers each, std above 0"


def _objective(config: Config) -> Iterator[str]:
    objective, network = config.objective, config.network
    if objective.name == "classification":
        if network.num_classes < 2:
            yield f"config.network.num_classes: classification needs 2 classes or more, got {network.num_classes}"
        if network.projector or network.predictor:
            yield "config.network.projector: classification has none; set it and config.network.predictor to ()"
        return
    if not network.projector or min(network.projector) < 1:
        yield f"config.network.projector: needs one or more widths from 1, got {network.projector}"
    elif network.predictor and (min(network.predictor) < 1 or network.predictor[-1] != network.projector[-1]):
        yield (
            f"config.network.predictor: needs widths from 1 that end in the projector's {network.projector[-1]}, "
            f"got {network.predictor}"
        )
    if network.num_classes:
        yield f"config.network.num_classes: {objective.name} knows no classes; set it to 0"
    if objective.temperature is not None and (objective.form == "gram" or objective.off_diagonal == "auto"):
        yield (
            "config.objective.temperature: the cross-entropy reads every entry of C; it goes with "
            "config.objective.form auto or direct and config.objective.off_diagonal cross"
        )


def _shapes(config: Config) -> Iterator[str]:
    stages = 3 if config.network.encoder == "resnet8" else 4
    smallest = _STEM_STRIDE[config.network.stem] * 2 ** (stages - 1)
    if config.data.image_size < smallest:
        yield (
            f"config.data.image_size: {config.network.encoder} with the {config.network.stem} stem halves "
            f"the image down to a {smallest}th and needs {smallest} pixels or more, got {config.data.image_size}"
        )
    if config.data.image_size > config.data.eval_resize:
        yield (
            f"config.data.image_size: the crop of {config.data.image_size} pixels is larger than the image, "
            f"which is resized to config.data.eval_resize = {config.data.eval_resize}"
        )


def _mesh(config: Config, facts: Facts) -> Iterator[str]:
    devices, slices = facts.num_devices, 1 if config.mesh.slices is None else config.mesh.slices
    if slices < 1:
        yield f"config.mesh.slices: must be 1 or more, got {slices}"
    elif devices and devices % slices:
        yield f"config.mesh.slices: {devices} devices are not divisible into {slices} slices"
    elif devices and config.mesh.projector == "sharded":
        each = devices // slices
        for width in dict.fromkeys(config.network.projector):
            if width % each:
                yield (
                    f"config.mesh.projector: the width {width} is not divisible by the {each} devices of a slice; "
                    "use replicated, or another config.network.projector"
                )


def _sizes(config: Config, facts: Facts) -> Iterator[str]:
    batch_size, devices, microbatches = config.train.batch_size, facts.num_devices, config.train.microbatches
    pieces = (devices or 1) * microbatches
    if microbatches > 1 and batch_size % pieces == 0 and batch_size // microbatches < 2:
        yield f"config.train.microbatches: batch statistics need 2 images or more in each, got {microbatches}"
    if microbatches > 1 and batch_size % pieces:
        yield (
            f"config.train.batch_size: {batch_size} is not divisible into {microbatches} microbatches on "
            f"{devices or 'any number of'} devices; the next that is: {-(-batch_size // pieces) * pieces}"
        )
    if batch_size < 2:
        yield f"config.train.batch_size: batch statistics need 2 images or more, got {batch_size}"
    for key, size in (("train.batch_size", batch_size), ("eval_batch_size", config.eval_batch_size)):
        if devices and size % devices:
            up = -(-size // devices) * devices
            yield f"config.{key}: {size} is not divisible by the {devices} devices; the next that is: {up}"
    images = facts.num_images.get(config.data.train_split)
    if images is not None and 2 <= images < batch_size:
        yield (
            f"config.train.batch_size: split {config.data.train_split!r} of {config.data.name} has {images} "
            f"images, fewer than one batch of {batch_size}"
        )
    for split, count in facts.num_images.items():
        if count < 2:
            yield f"config.data: split {split!r} of {config.data.name} holds {count} images; 2 are needed"
