"""Rules on the augmentation."""

import collections
from collections.abc import Iterator, Mapping

from barlow_jax.config import fields
from barlow_jax.config.recipe import OPS, View
from barlow_jax.config.schema import Config


def recipe_problems(config: Config) -> Iterator[str]:
    """Yield ranges and orders of ops that are impossible."""
    for name, view in config.recipe.views.items():
        yield from (f"config.recipe.views.{name}.{problem}" for problem in _range_problems(view))
        yield from (f"config.recipe.views.{name}.order {problem}" for problem in _order_problems(view))
        if config.data.augment_on == "device":
            yield from (f"config.recipe.views.{name}.order {problem}" for problem in _device_problems(view))
    yield from _normalize_problems(config.recipe.views)


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


def _normalize_problems(views: Mapping[str, View]) -> Iterator[str]:
    """Yield means and standard deviations on another scale than 0..1, or that differ between views."""
    by_key, valid = collections.defaultdict(dict), True
    for name, view in views.items():
        for key, member, value in fields.walk(view.normalize):
            path = f"config.recipe.views.{name}.normalize.{key}"
            by_key[key][path] = value
            if len(value) != 3:
                yield f"{path} is {value}, but must have 3 numbers."
            elif max(value) > 1:
                yield f"{path} is {value}, but pixel values are divided by 255 first. Divide it by 255 too."
            valid &= len(value) == 3 and max(value) <= 1 and member.metadata["spec"].accepts(value)
    for (first, expected), *others in (values.items() for values in by_key.values() if valid):
        for path, value in others:
            if value != expected:
                yield (
                    f"{path} is {value}, but {first} is {expected}. All views need the same values, which "
                    "evaluations and exports use too. Set both."
                )
