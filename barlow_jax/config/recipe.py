"""The augmentation tables of the papers as data: a View is one row of ops, a Recipe names the views.

Units: images are uint8 pixel values 0..255 in `[height, width, 3]`. Every op is sampled independently for
each example and each view, and returns uint8 pixel values, except `normalize`, which is always last. Ops run
on the host or on the accelerator (`config.data.augment_on`), `normalize` always on the accelerator.
Definitions are torchvision's on PIL images (Barlow Twins, appendix A, and its official code).
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Literal

from barlow_jax.config.fields import field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The view that passes through the second of two branches. If that branch reads text, the view is a caption.
SECOND_VIEW = "b"


def _probability(default: float) -> float:
    return field(default, "Probability that the op is applied.", min=0, max=1)


@dataclasses.dataclass(frozen=True)
class Crop:
    """Random resized crop: area first, then aspect ratio, then position."""

    min_area: float = field(0.08, "Smallest area, as a fraction of the image's.", above=0, max=1)
    max_area: float = field(1.0, "Largest area, as a fraction of the image's.", above=0, max=1)
    min_aspect: float = field(3 / 4, "Smallest width / height. Ratios are sampled log-uniformly.", above=0)
    max_aspect: float = field(4 / 3, "Largest width / height.", above=0)
    method: Literal["bicubic", "bilinear"] = field("bicubic", "Interpolation, antialiased.")
    size: int | None = field(
        None, "Side that the crop is resized to; none = config.data.image_size.", unit="pixels", min=1
    )


@dataclasses.dataclass(frozen=True)
class Rotate:
    """Rotation about the center by U(-max_degrees, max_degrees); bilinear, black outside."""

    probability: float = _probability(0.0)
    max_degrees: float = field(10.0, "Largest angle.", unit="degrees")


@dataclasses.dataclass(frozen=True)
class Flip:
    """Horizontal flip."""

    probability: float = _probability(0.5)


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Color jitter: four parts in random order, factors U(1 - s, 1 + s), hue shift U(-hue, hue) turns."""

    probability: float = _probability(0.8)
    brightness: float = field(0.4, "Strength s of the brightness factor.", min=0)
    contrast: float = field(0.4, "Strength s of the contrast factor.", min=0)
    saturation: float = field(0.2, "Strength s of the saturation factor.", min=0)
    hue: float = field(0.1, "Largest hue shift.", unit="turns", min=0, max=0.5)


@dataclasses.dataclass(frozen=True)
class Grayscale:
    """Replace all three channels by PIL's L."""

    probability: float = _probability(0.2)


@dataclasses.dataclass(frozen=True)
class Blur:
    """PIL's GaussianBlur with sigma U(min_sigma, max_sigma)."""

    probability: float = _probability(1.0)
    min_sigma: float = field(0.1, "Smallest sigma.", unit="pixels", min=0)
    max_sigma: float = field(2.0, "Largest sigma.", unit="pixels", min=0)


@dataclasses.dataclass(frozen=True)
class Solarize:
    """Invert pixel values at or above the threshold."""

    probability: float = _probability(0.0)
    threshold: int = field(128, "Smallest pixel value that is inverted.", min=0, max=256)


@dataclasses.dataclass(frozen=True)
class Normalize:
    """(pixel value / 255 - mean) / std for each channel."""

    mean: tuple[float, ...] = field(
        IMAGENET_MEAN, "Mean of each channel, of pixel values in 0..1; the same in all views.", min=0
    )
    std: tuple[float, ...] = field(
        IMAGENET_STD, "Standard deviation of each channel, on the same scale, in all views.", above=0
    )


@dataclasses.dataclass(frozen=True)
class View:
    """One augmented view: its ops, and the order in which they are applied. Defaults: Barlow Twins' A."""

    crop: Crop = Crop()
    rotate: Rotate = Rotate()
    flip: Flip = Flip()
    jitter: Jitter = Jitter()
    grayscale: Grayscale = Grayscale()
    blur: Blur = Blur()
    solarize: Solarize = Solarize()
    normalize: Normalize = Normalize()
    order: tuple[str, ...] = field(
        ("crop", "rotate", "flip", "jitter", "grayscale", "blur", "solarize", "normalize"),
        "Order of the ops, each named once, normalize last.",
    )

    def output_size(self, image_size: int) -> int:
        """Return the side of the view in pixels; views without a size of their own have `image_size`."""
        return self.crop.size or image_size


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Named views that are made of every image. Defaults: a and b, Barlow Twins' A and A'.

    View b differs from a in blur.probability (0.1) and solarize.probability (0.2).
    """

    views: Mapping[str, View] = dataclasses.field(
        default_factory=lambda: {
            "a": View(),
            "b": View(blur=Blur(probability=0.1), solarize=Solarize(probability=0.2)),
        }
    )


def without(view: View, ops: Iterable[str]) -> View:
    """Return the view with the probability of these ops set to 0."""
    off = {name: dataclasses.replace(getattr(view, name), probability=0.0) for name in ops}
    return dataclasses.replace(view, **off)


def geometric(view: View) -> View:
    """Return the view with its geometric ops only."""
    return without(view, COLOR)


def classifier_view(view: View) -> View:
    """Return the view that classifiers train on: only the view's crop (bilinear) and flip."""
    off = {"jitter": Jitter(0.0), "grayscale": Grayscale(0.0), "blur": Blur(0.0)}
    crop = dataclasses.replace(view.crop, method="bilinear", size=None)
    return View(crop=crop, flip=view.flip, normalize=view.normalize, **off)


OPS = tuple(field.name for field in dataclasses.fields(View) if field.name != "order")
GEOMETRIC = ("crop", "rotate", "flip")
COLOR = ("jitter", "grayscale", "blur", "solarize")
