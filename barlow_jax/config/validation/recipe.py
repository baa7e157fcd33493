"""Rules on the augmentation."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any

from barlow_jax.config import fields
from barlow_jax.config.recipe import DEFAULT_OPS, DEVICE_ONLY, OPS, View
from barlow_jax.config.schema import Config


def recipe_problems(config: Config) -> Iterator[str]:
    """Yield ranges and orders of ops that are impossible."""
    for name, view in config.recipe.views.items():
        problems = [*_range_problems(view), *_channel_problems(view, config.data.channels)]
        on_target = _device_problems if config.data.augment_on == "device" else _host_problems
        problems += (f"order {problem}" for problem in (*_order_problems(view), *on_target(view)))
        yield from (f"config.recipe.views.{name}.{problem}" for problem in problems)
    yield from _normalize_problems(config.recipe.views, config.data.channels)


def _order_problems(view: View) -> Iterator[str]:
    order = ", ".join(view.order)
    new = [op for op in OPS if op not in DEFAULT_OPS]
    if not {*DEFAULT_OPS} <= {*view.order} <= {*OPS} or len({*view.order}) < len(view.order):
        yield (
            f"is {order}, but must name each op once: {', '.join(DEFAULT_OPS)}. It may also name each of "
            f"{', '.join(new)}."
        )
    elif view.order[-1] != "normalize":
        yield f"is {order}, but normalize must be last."
    for op in new:
        if op not in view.order and getattr(view, op) != getattr(View(), op):
            yield f"is {order}, so {op}, which has settings, is not applied. Name it there."


def _device_problems(view: View) -> Iterator[str]:
    before = view.order[: view.order.index("crop")] if "crop" in view.order else ()
    if op := next(filter(view.applies, before), None):
        yield (
            f"has {op} before crop, but the accelerator, which receives padded images, must crop first. "
            f"Set config.data.augment_on=host, or move {op} behind crop."
        )


def _host_problems(view: View) -> Iterator[str]:
    for op in filter(view.applies, DEVICE_ONLY):
        yield f"has {op}, which only the accelerator applies. Set config.data.augment_on=device."


def _channel_problems(view: View, channels: int) -> Iterator[str]:
    """Yield ops that images of this number of channels do not have, and a custom op without a function."""
    colors = [op for op in ("jitter", "grayscale", "solarize") if view.applies(op)]
    if colors and channels != 3:
        yield (
            f"order has {', '.join(colors)}, which need three channels, but config.data.channels is "
            f"{channels}. Set {', '.join(f'{op}.probability=0' for op in colors)}; brightness, contrast, "
            "gamma, noise and channel_drop in the order vary any number of channels."
        )
    if view.applies("channel_drop") and view.channel_drop.count >= channels:
        yield f"channel_drop.count is {view.channel_drop.count}, but images have only {channels} channels."
    if view.applies("custom") and not view.custom.function:
        yield f"custom.function is {view.custom.function}, but must be FILE.py:FUNCTION or MODULE:FUNCTION."


def _range_problems(view: View) -> Iterator[str]:
    for op, name in (("crop", "area"), ("crop", "aspect"), ("blur", "sigma")):
        low, high = (getattr(getattr(view, op), f"{end}_{name}") for end in ("min", "max"))
        if low > high:
            yield f"{op}.min_{name} is {low}, but must not exceed max_{name}, which is {high}."


def _normalize_problems(views: Mapping[str, View], channels: int) -> Iterator[str]:
    """Yield means and standard deviations on another scale than 0..1, or that differ between views."""
    by_key: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    valid = True
    for name, view in views.items():
        for key, member, value in fields.walk(view.normalize):
            path = f"config.recipe.views.{name}.normalize.{key}"
            by_key[key][path] = value
            fits = len(value) in (1, channels)
            if not fits:
                yield (
                    f"{path} is {value}, but must have {channels} numbers, one for each of "
                    "config.data.channels, or one for all."
                )
            elif max(value) > 1:
                yield f"{path} is {value}, but pixel values are divided by 255 first. Divide it by 255 too."
            valid &= fits and max(value) <= 1 and member.metadata["spec"].accepts(value)
    for (first, expected), *others in (values.items() for values in by_key.values() if valid):
        for path, value in others:
            if value != expected:
                yield (
                    f"{path} is {value}, but {first} is {expected}. All views need the same values, which "
                    "evaluations and exports use too. Set both."
                )
