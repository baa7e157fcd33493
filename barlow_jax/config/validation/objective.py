"""What is wrong with the method, its settings and the network that it asks for."""

from collections.abc import Iterator
import pathlib
import typing

from barlow_jax.config.methods import HEADS, REQUIREMENTS, Requirements
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import TEXT_ENCODER, Config, Network
from barlow_jax.config.validation import bounds

# Without importing them: that would import jax.
_FILES = pathlib.Path(__file__).parents[2] / "objectives"


def objective_problems(config: Config) -> Iterator[str]:
    objective = config.objective
    methods = sorted(path.stem for path in _FILES.glob("*.py") if path.stem != "__init__")
    if objective.name not in methods:
        yield f"config.objective.name: there is no method {objective.name!r}; there are {', '.join(methods)}"
        return
    yield from _ranges(config)
    yield from _widths(config)
    yield from _branches(config, REQUIREMENTS.get(objective.name))
    if objective.name in REQUIREMENTS:
        yield from _heads(config, REQUIREMENTS[objective.name])
        yield from _views(config, REQUIREMENTS[objective.name])
    settings = objective.barlow_twins
    if settings.temperature is not None and (objective.form == "gram" or settings.off_diagonal == "auto"):
        yield (
            "config.objective.barlow_twins.temperature: the cross-entropy reads every entry of C; it goes with "
            "config.objective.form auto or direct and config.objective.barlow_twins.off_diagonal cross"
        )


def _heads(config: Config, needs: Requirements) -> Iterator[str]:
    name = config.objective.name
    for head, off in HEADS.items():
        value = getattr(config.network, head)
        if head in needs.required_heads and not value:
            yield f"config.network.{head}: needs {_LEAST[head]} for {name}, got {value}"
        elif head not in needs.required_heads | needs.optional_heads and value:
            yield f"config.network.{head}: {name} has no use for it; set it to {off}"


_LEAST = {
    "projector": "one or more widths from 1",
    "predictor": "one or more widths from 1",
    "prototypes": "2 or more",
    "num_classes": "2 classes or more",
}


def _branches(config: Config, needs: Requirements | None) -> Iterator[str]:
    network = config.network
    if network.branches == "own" and needs is not None and not needs.separate_branches:
        yield f"config.network.branches: {config.objective.name} has one network for all views; set it to shared"
    if network.second_encoder is not None:
        encoders = (*typing.get_args(typing.get_type_hints(Network)["encoder"]), TEXT_ENCODER)
        if network.branches != "own":
            yield "config.network.second_encoder: belongs to config.network.branches=own; set that, or this to none"
        elif network.second_encoder not in encoders:
            yield (
                f"config.network.second_encoder: must be one of {', '.join(encoders)}, got {network.second_encoder!r}"
            )


def _widths(config: Config) -> Iterator[str]:
    network = config.network
    if network.text.vocabulary_size < 3:
        yield (
            "config.network.text.vocabulary_size: needs 3 rows or more, the first two of padding and of the unknown word, "
            f"got {network.text.vocabulary_size}"
        )
    if network.projector and min(network.projector) < 1:
        yield f"config.network.projector: needs one or more widths from 1, got {network.projector}"
    elif network.projector and network.predictor:
        width = network.projector[-1]
        if min(network.predictor) < 1 or network.predictor[-1] != width:
            yield (
                f"config.network.predictor: needs widths from 1 that end in the projector's {width}, "
                f"got {network.predictor}"
            )
    for head in ("prototypes", "num_classes"):
        value = getattr(network, head)
        if value < 0 or value == 1:
            yield f"config.network.{head}: must be 2 or more, or 0 for none, got {value}"


def _views(config: Config, needs: Requirements) -> Iterator[str]:
    there = config.recipe.views
    if config.network.reads_text:
        if sorted(there) != sorted(set(needs.views) - {SECOND_VIEW}):
            yield (
                f"config.recipe.views: view {SECOND_VIEW} is a caption, and the recipe that of the images: "
                f"{' and '.join(set(needs.views) - {SECOND_VIEW})} alone, got {', '.join(sorted(there))}"
            )
        return
    if not set(needs.views) <= set(there) or (len(there) > len(needs.views) and not needs.extra_views):
        only = "" if needs.extra_views else " and no other"
        yield (
            f"config.recipe.views: {config.objective.name} needs {' and '.join(needs.views)}{only}, "
            f"got {', '.join(sorted(there))}"
        )


def _ranges(config: Config) -> Iterator[str]:
    o = config.objective
    positive = bounds.members("objective.vicreg", o.vicreg, "target_std", "epsilon")
    positive |= bounds.members("objective.w_mse", o.w_mse, "sub_batch", "iterations")
    positive |= bounds.members("objective.simclr", o.simclr, "temperature")
    positive |= bounds.members("objective.moco", o.moco, "temperature", "queue_size")
    positive |= bounds.members("objective.swav", o.swav, "temperature", "epsilon", "sinkhorn_iterations")
    if o.barlow_twins.temperature is not None:
        positive["objective.barlow_twins.temperature"] = o.barlow_twins.temperature
    weights = "invariance_weight", "variance_weight", "covariance_weight"
    not_negative = bounds.members("objective.barlow_twins", o.barlow_twins, weights[0], "off_diagonal_weight")
    not_negative |= bounds.members("objective.vicreg", o.vicreg, *weights)
    not_negative |= bounds.members("objective.byol", o.byol, *weights[1:])
    not_negative |= bounds.members("objective.simsiam", o.simsiam, *weights[1:])
    swav = "queue_size", "queue_from_epoch", "freeze_prototypes_epochs"
    not_negative |= bounds.members("objective.swav", o.swav, *swav)
    fractions = bounds.members("objective.w_mse", o.w_mse, "shrinkage")
    fractions |= bounds.members("objective.byol", o.byol, "target_momentum")
    fractions |= bounds.members("objective.moco", o.moco, "target_momentum")
    yield from bounds.outside({"objective.scale": o.scale, **positive}, not_negative, fractions)
