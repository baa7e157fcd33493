"""The augmentation tables of the papers as data: a View is one row of ops, a Recipe names the views.

Units: images are uint8 levels 0..255 in `[height, width, 3]`; every op is drawn for each example and
each view by itself, and leaves uint8 levels behind, except `normalize`, which ends the list. Geometric ops
are the host's; color ops are the host's or the accelerator's (`config.data.augment_on`), and `normalize` is
the accelerator's.
Definitions are torchvision's on PIL images (Barlow Twins, appendix A, and its official code).
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The view that goes through the second of two branches; where that reads text, a caption of the image.
SECOND_VIEW = "b"


@dataclasses.dataclass(frozen=True)
class Crop:
    """Random resized crop: area first, then aspect, then position."""

    min_area: float = 0.08  # share of the image's area
    max_area: float = 1.0
    min_aspect: float = 3 / 4  # width over height, drawn log-uniformly
    max_aspect: float = 4 / 3
    method: Literal["bicubic", "bilinear"] = "bicubic"  # antialiased
    size: int | None = None  # pixels a side that it is resized to; none: config.data.image_size


@dataclasses.dataclass(frozen=True)
class Rotate:
    """Rotation about the centre by U(-max_degrees, max_degrees); bilinear, black outside."""

    probability: float = 0.0
    max_degrees: float = 10.0


@dataclasses.dataclass(frozen=True)
class Flip:
    """Horizontal flip."""

    probability: float = 0.5


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Color jitter: four parts in random order, factors U(1 - s, 1 + s), hue shift U(-hue, hue) turns."""

    probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1


@dataclasses.dataclass(frozen=True)
class Grayscale:
    """All three channels become PIL's L."""

    probability: float = 0.2


@dataclasses.dataclass(frozen=True)
class Blur:
    """PIL's GaussianBlur with sigma U(min_sigma, max_sigma) pixels."""

    probability: float = 1.0
    min_sigma: float = 0.1
    max_sigma: float = 2.0


@dataclasses.dataclass(frozen=True)
class Solarize:
    """Levels at or above the threshold are inverted."""

    probability: float = 0.0
    threshold: int = 128


@dataclasses.dataclass(frozen=True)
class Normalize:
    """(level / 255 - mean) / std for each channel."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


@dataclasses.dataclass(frozen=True)
class View:
    """One augmented view: the ops, and the order they are applied in. Defaults: Barlow Twins' A."""

    crop: Crop = Crop()
    rotate: Rotate = Rotate()
    flip: Flip = Flip()
    jitter: Jitter = Jitter()
    grayscale: Grayscale = Grayscale()
    blur: Blur = Blur()
    solarize: Solarize = Solarize()
    normalize: Normalize = Normalize()
    order: tuple[str, ...] = (
        "crop",
        "rotate",
        "flip",
        "jitter",
        "grayscale",
        "blur",
        "solarize",
        "normalize",
    )

    def output_size(self, image_size: int) -> int:
        """A side of the view, where the others have `image_size`."""
        return self.crop.size or image_size


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The named views that are made of every image. Defaults: Barlow Twins' A and A'."""

    views: Mapping[str, View] = dataclasses.field(
        default_factory=lambda: {
            "a": View(),
            "b": View(blur=Blur(probability=0.1), solarize=Solarize(probability=0.2)),
        }
    )


def without(view: View, ops: Iterable[str]) -> View:
    """The same view, in which these ops are never applied."""
    off = {name: dataclasses.replace(getattr(view, name), probability=0.0) for name in ops}
    return dataclasses.replace(view, **off)


def geometric(view: View) -> View:
    """The same view with its geometric ops alone."""
    return without(view, COLOR)


def classifier_view(view: View) -> View:
    """What classifiers train on: crop (bilinear) and flip as the view has them, and nothing else."""
    off = {"jitter": Jitter(0.0), "grayscale": Grayscale(0.0), "blur": Blur(0.0)}
    crop = dataclasses.replace(view.crop, method="bilinear", size=None)
    return View(crop=crop, flip=view.flip, normalize=view.normalize, **off)


OPS = tuple(field.name for field in dataclasses.fields(View) if field.name != "order")
GEOMETRIC = ("crop", "rotate", "flip")
COLOR = ("jitter", "grayscale", "blur", "solarize")
