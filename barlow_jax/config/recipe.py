"""The augmentation tables of the papers as data: a View is one row of ops, a Recipe names the views.

Units: images are `[height, width, C]`, uint8 pixel values 0..255 or float32 values in 0..1
(`config.data.pixel_dtype`). Every op is sampled independently for each example and each view, and keeps the
dtype, except `normalize`, which is always last. Ops run on the host or on the accelerator
(`config.data.augment_on`), `normalize` and those of DEVICE_ONLY always on the accelerator. Definitions of the
default ops are torchvision's on PIL images (Barlow Twins, appendix A, and its official code).
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any, Literal

from barlow_jax.config.fields import field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The view that passes through the second of two branches. If that branch reads text, the view is a caption.
SECOND_VIEW = "b"
# The views of full size, where a method has smaller ones too.
FULL_VIEWS = ("a", "b")
# Views that are cut from the cells of a 3 x 3 grid of another view (barlow_jax.augment.patches).
PATCHES = tuple(f"patch{number}" for number in range(9))


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
    """Rotation about the center by U(-max_degrees, max_degrees); bilinear."""

    probability: float = _probability(0.0)
    max_degrees: float = field(10.0, "Largest angle.", unit="degrees")
    outside: Literal["black", "reflect"] = field(
        "black", "Corners that the rotated image does not cover: black, or the image mirrored at its border."
    )


@dataclasses.dataclass(frozen=True)
class Flip:
    """Horizontal flip."""

    probability: float = _probability(0.5)


@dataclasses.dataclass(frozen=True)
class VerticalFlip:
    """Mirror top to bottom, for images without an upright position."""

    probability: float = _probability(0.5)


@dataclasses.dataclass(frozen=True)
class QuarterTurn:
    """Rotation by 0, 90, 180 or 270 degrees, each equally likely; no pixel value changes."""

    probability: float = _probability(1.0)


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
class Intensity:
    """Change of pixel values x in 0..1 by a random factor f, the result clipped to 0..1, in any channels.

    brightness: f x. contrast: m + f (x - m), where m is the mean of the image. gamma: x^f. With the strength
    s, f is U(max(0, 1 - s), 1 + s) for brightness and contrast, and log-uniform in [1 / (1 + s), 1 + s] for
    gamma.
    """

    probability: float = _probability(0.8)
    strength: float = field(0.4, "Strength s of the factor.", min=0)
    per_channel: bool = field(
        False, "A factor, and for contrast a mean m, of each channel's own; off = the same for all channels."
    )


@dataclasses.dataclass(frozen=True)
class Noise:
    """Add Gaussian noise, independent in each pixel and channel, with a std of U(0, max_std)."""

    probability: float = _probability(0.5)
    max_std: float = field(0.05, "Largest standard deviation.", unit="of the value range 0..1", min=0, max=1)


@dataclasses.dataclass(frozen=True)
class ChannelDrop:
    """Set whole channels to 0; every choice of channels is equally likely."""

    probability: float = _probability(0.2)
    count: int = field(1, "Number of channels, less than config.data.channels.", unit="channels", min=1)


@dataclasses.dataclass(frozen=True)
class Custom:
    """An operation of your own: a JAX function `(image, key) -> image`, applied as part of the step.

    The image is `[size, size, C]` float32 in 0..1, before and after. The key is derived from the seed, the
    view and the image's position in the run, so a resumed run repeats the operation bit for bit.
    """

    probability: float = _probability(1.0)
    function: str | None = field(
        None,
        "FILE.py:FUNCTION, recorded with an absolute path, or MODULE:FUNCTION. The file is Python code that "
        "is run: name only files that you trust.",
        part="augmentation",
    )


@dataclasses.dataclass(frozen=True)
class Normalize:
    """(x - mean) / std for each channel, where x is a uint8 pixel value / 255 or a float32 value."""

    mean: tuple[float, ...] = field(
        IMAGENET_MEAN,
        "Mean of each channel, or of all, of pixel values in 0..1; the same in all views.",
        min=0,
    )
    std: tuple[float, ...] = field(
        IMAGENET_STD,
        "Standard deviation of each channel, or of all, on the same scale, in all views.",
        above=0,
    )


@dataclasses.dataclass(frozen=True)
class View:
    """One augmented view: its ops, and the order in which they are applied. Defaults: Barlow Twins' A.

    Ops that `order` does not name are not applied.
    """

    crop: Crop = Crop()
    rotate: Rotate = Rotate()
    flip: Flip = Flip()
    jitter: Jitter = Jitter()
    grayscale: Grayscale = Grayscale()
    blur: Blur = Blur()
    solarize: Solarize = Solarize()
    normalize: Normalize = Normalize()
    vertical_flip: VerticalFlip = VerticalFlip()
    quarter_turn: QuarterTurn = QuarterTurn()
    brightness: Intensity = Intensity()
    contrast: Intensity = Intensity()
    gamma: Intensity = Intensity()
    noise: Noise = Noise()
    channel_drop: ChannelDrop = ChannelDrop()
    custom: Custom = Custom()
    order: tuple[str, ...] = field(
        ("crop", "rotate", "flip", "jitter", "grayscale", "blur", "solarize", "normalize"),
        "Order of the ops: those of the default, and any of vertical_flip, quarter_turn, brightness, "
        "contrast, gamma, noise, channel_drop, custom, each named once, normalize last.",
    )

    def applies(self, op: str) -> bool:
        """Return whether the op is in the order and has a probability above 0, or always applies."""
        return op in self.order and getattr(getattr(self, op, None), "probability", 1.0) > 0

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
    """Return the view with the probability of these ops set to 0, where the order names them."""
    named = [name for name in ops if name in view.order]
    off: dict[str, Any] = {name: dataclasses.replace(getattr(view, name), probability=0.0) for name in named}
    return dataclasses.replace(view, **off)


def geometric(view: View) -> View:
    """Return the view with its geometric ops only."""
    return without(view, (*COLOR, *DEVICE_ONLY))


def classifier_view(view: View) -> View:
    """Return the view that classifiers train on: only the view's crop (bilinear) and flip."""
    crop = dataclasses.replace(view.crop, method="bilinear", size=None)
    return dataclasses.replace(geometric(View()), crop=crop, flip=view.flip, normalize=view.normalize)


OPS = tuple(field.name for field in dataclasses.fields(View) if field.name != "order")
DEFAULT_OPS = View().order
GEOMETRIC = ("crop", "rotate", "flip", "vertical_flip", "quarter_turn")
COLOR = ("jitter", "grayscale", "blur", "solarize")
DEVICE_ONLY = ("brightness", "contrast", "gamma", "noise", "channel_drop", "custom")
