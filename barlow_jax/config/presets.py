"""Recipes by kind of image, for images of three channels (RGB) or of any other number.

With other than three channels, ops on color are replaced by their counterparts for all channels: brightness
and contrast of the same strengths, gamma for the saturation, and dropped channels for grayscale.
"""

import dataclasses

from barlow_jax.config import recipe as ops
from barlow_jax.config.recipe import Recipe, View

_TURNS = ("vertical_flip", "quarter_turn")


def photographs() -> Recipe:
    """Return Barlow Twins' own recipe, which was tuned on photographs of objects (ImageNet)."""
    return Recipe()


def microscopy() -> Recipe:
    """Return a recipe for images through a microscope: no upright position, one magnification."""
    view = View(
        # The size of a cell and its shape are facts about it: neither small crops nor stretched ones.
        crop=ops.Crop(min_area=0.3, min_aspect=0.9, max_aspect=1.1),
        # Exposure and staining differ between slides and days; hue tells stains apart, so it moves little.
        jitter=ops.Jitter(brightness=0.4, contrast=0.4, saturation=0.3, hue=0.05),
        grayscale=ops.Grayscale(0.1),
        blur=ops.Blur(0.5, max_sigma=1.5),  # focus; stronger blur would erase what cells are told apart by
        noise=ops.Noise(0.5, max_std=0.05),  # of the sensor, at short exposures
        order=_order(*_TURNS, "noise"),
    )
    return Recipe({"a": view, "b": view})


def satellite() -> Recipe:
    """Return a recipe for images from above: no upright position, one ground resolution."""
    view = View(
        crop=ops.Crop(min_area=0.2),  # a field is a field at half the size, but a pixel keeps its meters
        # Sun, season and haze change brightness and contrast; the color is what vegetation is told by.
        jitter=ops.Jitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.05),
        grayscale=ops.Grayscale(0.1),
        blur=ops.Blur(0.3, max_sigma=1.0),  # haze; resolution is scarce
        noise=ops.Noise(0.3, max_std=0.02),
        order=_order(*_TURNS, "noise"),
    )
    return Recipe({"a": view, "b": view})


def documents() -> Recipe:
    """Return a recipe for scanned or photographed pages."""
    view = View(
        # A small crop shows no layout. Pages lie askew, and black corners would show by how much.
        crop=ops.Crop(min_area=0.3, min_aspect=0.8, max_aspect=1.25),
        rotate=ops.Rotate(0.5, max_degrees=5.0, outside="reflect"),
        flip=ops.Flip(0.0),  # mirrored text is no text
        # Paper yellows, scanners differ, and the same page comes in color and in gray.
        jitter=ops.Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05),
        grayscale=ops.Grayscale(0.3),
        blur=ops.Blur(0.5, max_sigma=1.0),  # of the scan's resolution
        noise=ops.Noise(0.3, max_std=0.05),
        order=_order("noise"),
    )
    return Recipe({"a": view, "b": view})


PRESETS = {preset.__name__: preset for preset in (photographs, microscopy, satellite, documents)}


def make(name: str, channels: int = 3) -> Recipe:
    """Return the preset of this name for images of this number of channels."""
    views = PRESETS[name]().views
    return Recipe(views if channels == 3 else {key: _any_channels(views[key], channels) for key in views})


def _order(*more: str) -> tuple[str, ...]:
    """Return the default order with turns next to the flip, and others at the end: noise is not blurred."""
    turns = [op for op in more if op in ops.GEOMETRIC]
    others = [op for op in more if op not in turns]
    return (*ops.DEFAULT_OPS[:3], *turns, *ops.DEFAULT_OPS[3:-1], *others, "normalize")


def _any_channels(view: View, channels: int) -> View:
    """Replace the ops on color."""
    strengths, intensity = view.jitter, ["brightness", "contrast", "gamma"]
    if channels > 1:
        intensity.append("channel_drop")
    return dataclasses.replace(
        ops.without(view, ("jitter", "grayscale", "solarize")),
        brightness=ops.Intensity(strengths.probability, strengths.brightness),
        contrast=ops.Intensity(strengths.probability, strengths.contrast),
        gamma=ops.Intensity(strengths.probability, strengths.saturation),
        channel_drop=ops.ChannelDrop(count=max(1, channels // 4)) if channels > 1 else view.channel_drop,
        # Centered; the statistics of ImageNet are those of RGB.
        normalize=ops.Normalize((0.5,), (0.25,)),
        order=_order(*intensity, *(op for op in view.order if op not in ops.DEFAULT_OPS)),
    )
