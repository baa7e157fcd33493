"""Rules on the method, its settings, and the views and heads that it needs."""

from collections.abc import Iterator

from barlow_jax.config.method_facts import HEADS, METHODS, Method
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import Config

SMALLEST_GRID = 12  # pixels; its patches have 3


def objective_problems(config: Config) -> Iterator[str]:
    """Yield settings, views and heads that do not fit the method."""
    objective = config.objective
    yield from _width_problems(config)
    requirements = METHODS.get(objective.name)
    yield from _branch_problems(config, requirements)
    if requirements is not None:
        yield from _head_problems(config, requirements)
        yield from _view_problems(config, requirements)
    prefix, settings = "config.objective.barlow_twins", objective.barlow_twins
    if settings.temperature is not None and (objective.form == "gram" or settings.off_diagonal == "auto"):
        yield (
            f"{prefix}.temperature is {settings.temperature}, but this cross-entropy reads every entry of C. "
            f"Set config.objective.form to auto or direct, and {prefix}.off_diagonal to cross."
        )


def _width_problems(config: Config) -> Iterator[str]:
    network = config.network
    for head in ("predictor", "joint_head"):
        widths = getattr(network, head)
        if network.projector and widths and widths[-1] != network.projector[-1]:
            yield (
                f"config.network.{head} is {widths}, but must end in the projector's width, "
                f"{network.projector[-1]}."
            )
    for head in ("prototypes", "num_classes"):
        if getattr(network, head) == 1:
            yield f"config.network.{head} is 1, but must be 2 or more, or 0 for none."


def _branch_problems(config: Config, requirements: Method | None) -> Iterator[str]:
    network = config.network
    if network.branches == "own" and requirements is not None and not requirements.separate_branches:
        yield (
            f"config.network.branches is own, but {config.objective.name} has one network for all views. "
            "Set it to shared."
        )
    if network.second_encoder is not None and network.branches != "own":
        yield (
            f"config.network.second_encoder is {network.second_encoder}, but needs "
            "config.network.branches=own. Set that, or second_encoder=none."
        )


def _head_problems(config: Config, requirements: Method) -> Iterator[str]:
    name, own_classes = config.objective.name, requirements.own_classes
    if own_classes and config.network.num_classes not in (0, own_classes):
        yield (
            f"config.network.num_classes is {config.network.num_classes}, but {name} has {own_classes} "
            f"classes of its own. Set it to {own_classes}."
        )
    outputs = {"jigsaw": config.objective.jigsaw.permutations, "context_prediction": 8}.get(name)
    if outputs and config.network.joint_head and config.network.joint_head[-1] != outputs:
        yield (
            f"config.network.joint_head is {config.network.joint_head}, but {name} has {outputs} classes. "
            f"Set its last width to {outputs}."
        )
    for head, off in HEADS.items():
        value = getattr(config.network, head)
        if head in requirements.required_heads and not value:
            minimum = "2 or more" if off == 0 else "one or more widths"
            yield f"config.network.{head} is {value}, but {name} needs {minimum}."
        elif head not in requirements.required_heads | requirements.optional_heads and value:
            yield f"config.network.{head} is {value}, but {name} does not use it. Set it to {off}."


def _view_problems(config: Config, requirements: Method) -> Iterator[str]:
    views, required = ", ".join(sorted(config.recipe.views)), set(requirements.views)
    if config.network.reads_text:
        required.discard(SECOND_VIEW)
        if set(config.recipe.views) != required:
            yield (
                f"config.recipe.views is {views}, but view {SECOND_VIEW} is a caption, not an image. "
                f"Define {' and '.join(sorted(required))} only."
            )
    elif not required <= set(config.recipe.views) or (
        len(config.recipe.views) > len(required) and not requirements.extra_views
    ):
        only = "" if requirements.extra_views else " and no others"
        yield (
            f"config.recipe.views is {views}, but {config.objective.name} needs "
            f"{' and '.join(requirements.views)}{only}."
        )
    elif len(config.recipe.views) > len(required) and (asymmetric := _asymmetric_key(config)):
        yield (
            f"config.recipe.views is {views}, but config.{asymmetric} treats views a and b differently. "
            f"Define {' and '.join(requirements.views)} only, or turn it off."
        )
    elif requirements.joint_views:
        name = requirements.views[-1]
        if (size := config.recipe.views[name].output_size(config.data.image_size)) < SMALLEST_GRID:
            yield (
                f"View {name} has {size} pixels, but {config.objective.name} cuts it into 3 x 3 patches. Set "
                f"config.recipe.views.{name}.crop.size to {SMALLEST_GRID} or more."
            )


def _asymmetric_key(config: Config) -> str | None:
    """Return a key that gives two views different roles, if one is on."""
    if config.network.branches == "own":
        return "network.branches"
    if config.objective.name != "barlow_twins":
        return None
    settings = config.objective.barlow_twins
    values = {
        "network.predictor": config.network.predictor,
        "objective.barlow_twins.stop_gradient": settings.stop_gradient,
        "objective.barlow_twins.off_diagonal": settings.off_diagonal != "cross",
    }
    return next((key for key, value in values.items() if value), None)
