"""What is wrong with the augmentation."""

from collections.abc import Iterator

from barlow_jax.config.recipe import OPS, View
from barlow_jax.config.schema import Config


def recipe_problems(config: Config) -> Iterator[str]:
    for name, view in config.recipe.views.items():
        yield from (f"config.recipe.views.{name}.{problem}" for problem in _view(view))
        if config.data.augment_on == "device":
            yield from (f"config.recipe.views.{name}.{problem}" for problem in _device_order(view))


def _device_order(view: View) -> Iterator[str]:
    """What the accelerator cannot do in the view's order."""
    before = view.order[: view.order.index("crop")] if "crop" in view.order else ()
    for op in before:
        if getattr(getattr(view, op, None), "probability", 0.0) > 0:
            yield (
                f"order: {op} comes before crop, and the accelerator, which holds images of any shape on a canvas, "
                "crops first; set config.data.augment_on=host, or move it behind"
            )
            return


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
