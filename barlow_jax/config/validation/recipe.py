"""Rules on the augmentation."""

from collections.abc import Iterator

from barlow_jax.config.recipe import OPS, View
from barlow_jax.config.schema import Config


def recipe_problems(config: Config) -> Iterator[str]:
    """Yield ranges and orders of ops that are impossible."""
    for name, view in config.recipe.views.items():
        yield from (f"config.recipe.views.{name}.{problem}" for problem in _range_problems(view))
        yield from (f"config.recipe.views.{name}.order {problem}" for problem in _order_problems(view))
        if config.data.augment_on == "device":
            yield from (f"config.recipe.views.{name}.order {problem}" for problem in _device_problems(view))


def _order_problems(view: View) -> Iterator[str]:
    order = ", ".join(view.order)
    if sorted(view.order) != sorted(OPS):
        yield f"is {order}, but must name each op once: {', '.join(OPS)}."
    elif view.order[-1] != "normalize":
        yield f"is {order}, but normalize must be last."


def _device_problems(view: View) -> Iterator[str]:
    before = view.order[: view.order.index("crop")] if "crop" in view.order else ()
    for op in before:
        if getattr(getattr(view, op, None), "probability", 0.0) > 0:
            yield (
                f"has {op} before crop, but the accelerator, which receives padded images, must crop first. "
                f"Set config.data.augment_on=host, or move {op} behind crop."
            )
            return


def _range_problems(view: View) -> Iterator[str]:
    for op, name in (("crop", "area"), ("crop", "aspect"), ("blur", "sigma")):
        low, high = (getattr(getattr(view, op), f"{end}_{name}") for end in ("min", "max"))
        if low > high:
            yield f"{op}.min_{name} is {low}, but must not exceed max_{name}, which is {high}."
    for name in ("mean", "std"):
        if len(values := getattr(view.normalize, name)) != 3:
            yield f"normalize.{name} is {values}, but must have 3 numbers."
