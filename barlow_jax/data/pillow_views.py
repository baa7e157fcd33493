"""Views, padded images and evaluation crops of a decoded image in Pillow, one image at a time.

The ops are those of the official code. Decoded pixels are `[height, width, C]` uint8 (three channels), uint16
or float32; padded images and crops have the type of a batch (`pixel_arrays.to_batch`).
"""

from collections.abc import Mapping
import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from barlow_jax.config.recipe import Crop, Jitter, View
from barlow_jax.config.schema import Data
from barlow_jax.data.padded_images import pack_crops
from barlow_jax.data.pixel_arrays import to_batch
from barlow_jax.errors import UserError

METHODS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
CROP_ATTEMPTS = 10


def make_views(
    pixels: np.ndarray, views: dict[str, View], size: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return each view as normalized `[3, size, size]` float32.

    Barlow Twins' official pipeline is torchvision's on PIL images, in the workers of a data loader, which
    return such arrays. `bench input` compares with the same work without the loader.
    """
    image = Image.fromarray(pixels)
    return {
        name: _to_array(make_view(image, view, view.output_size(size), rng), view)
        for name, view in views.items()
    }


def make_view(image: Image.Image, view: View, size: int, rng: np.random.Generator) -> Image.Image:
    """Apply the ops of a view, except `normalize`, to an RGB image; the crop has `size` pixels a side."""
    for name in view.order:
        op = getattr(view, name)
        if name == "crop":
            image = _crop(image, op, size, rng)
        elif name != "normalize" and rng.random() < op.probability:
            image = _OPS[name](image, op, rng)
    return image


def _crop(image: Image.Image, op: Crop, size: int, rng: np.random.Generator) -> Image.Image:
    left, top, width, height = crop_box(image.height, image.width, op, rng)
    part = image.crop((left, top, left + width, top + height))
    return part.resize((size, size), METHODS[op.method])


def crop_box(rows: int, columns: int, op: Crop, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (left, top, width, height): the first of 10 boxes that fits, else the largest central one."""
    for _ in range(CROP_ATTEMPTS):
        area = columns * rows * rng.uniform(op.min_area, op.max_area)
        aspect = math.exp(rng.uniform(math.log(op.min_aspect), math.log(op.max_aspect)))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= columns and 0 < height <= rows:
            left, top = int(rng.integers(columns - width + 1)), int(rng.integers(rows - height + 1))
            return left, top, width, height
    width = min(columns, round(rows * op.max_aspect))
    height = min(rows, round(columns / op.min_aspect))
    return (columns - width) // 2, (rows - height) // 2, width, height


def _jitter(image: Image.Image, op: Jitter, rng: np.random.Generator) -> Image.Image:
    def factor(strength: float) -> float:
        return rng.uniform(max(0.0, 1 - strength), 1 + strength)

    parts = (
        (op.brightness, lambda x: ImageEnhance.Brightness(x).enhance(factor(op.brightness))),
        (op.contrast, lambda x: ImageEnhance.Contrast(x).enhance(factor(op.contrast))),
        (op.saturation, lambda x: ImageEnhance.Color(x).enhance(factor(op.saturation))),
        (op.hue, lambda x: _shift_hue(x, rng.uniform(-op.hue, op.hue))),
    )
    for number in rng.permutation(len(parts)):
        strength, part = parts[number]
        image = part(image) if strength > 0 else image
    return image


def _shift_hue(image: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shifted = (np.asarray(hue).astype(np.int16) + int(turns * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(shifted.astype(np.uint8)), saturation, value)).convert("RGB")


_OPS = {
    "rotate": lambda x, op, rng: x.rotate(
        rng.uniform(-op.max_degrees, op.max_degrees), Image.Resampling.BILINEAR
    ),
    "flip": lambda x, op, rng: ImageOps.mirror(x),
    "vertical_flip": lambda x, op, rng: ImageOps.flip(x),
    "quarter_turn": lambda x, op, rng: x.rotate(90 * int(rng.integers(4)), expand=True),
    "jitter": _jitter,
    "grayscale": lambda x, op, rng: x.convert("L").convert("RGB"),
    "blur": lambda x, op, rng: x.filter(ImageFilter.GaussianBlur(rng.uniform(op.min_sigma, op.max_sigma))),
    "solarize": lambda x, op, rng: ImageOps.solarize(x, op.threshold),
}


def _to_array(image: Image.Image, view: View) -> np.ndarray:
    mean, std = (np.asarray(values, np.float32) for values in (view.normalize.mean, view.normalize.std))
    return np.ascontiguousarray(((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1))


def pad_or_crop(
    pixels: np.ndarray, canvas: np.ndarray, data: Data, views: Mapping[str, View], seed: tuple[int, int]
) -> tuple[int, int]:
    """Put an image on a black canvas (`padded_images`): whole, or as crops of all views if it is larger.

    `canvas` is `[side, side, C]`; the views are sorted by name. The seed is that of the run, with the
    position of the image in the run; each view has random numbers of its own.

    Returns:
      The image's height and width; (0, 0) for crops.

    Raises:
      UserError: the canvas has no room for the crops; the message is a predicate.
    """
    height, width = pixels.shape[:2]
    side = len(canvas)
    if max(height, width) <= side:
        canvas[:height, :width] = to_batch(pixels, data)
        return height, width
    sizes = [view.output_size(data.image_size) for view in views.values()]
    corners = pack_crops(sizes, side)
    if corners is None:
        crops = f"{len(views)} crops of {', '.join(map(str, dict.fromkeys(sizes)))}"
        raise UserError(
            f"is larger than config.data.canvas={side}, which has no room for {crops}: set a larger one"
        )
    for number, (view, size, (top, left)) in enumerate(zip(views.values(), sizes, corners, strict=True)):
        rng = np.random.default_rng((*seed, number))
        x, y, columns, rows = crop_box(height, width, view.crop, rng)
        part = to_batch(pixels[y : y + rows, x : x + columns], data)
        crop = _resize(part, size, view.crop.method, (0, 0, columns, rows))
        canvas[top : top + size, left : left + size] = crop
    return 0, 0


def evaluation_crop(pixels: np.ndarray, data: Data) -> np.ndarray:
    """Resize the shorter side to `eval_resize` (antialiased), and return the central crop.

    Returns:
      `[image_size, image_size, C]`.
    """
    size, shape = data.image_size, pixels.shape[:2]
    resized = [length * data.eval_resize // min(shape) for length in shape]
    # Half a pixel too many goes to the even side, as Python (and so torchvision) rounds.
    top, left = (round((length - size) / 2) for length in resized)
    scale_y, scale_x = (length / new for length, new in zip(shape, resized, strict=True))
    right, bottom = min((left + size) * scale_x, shape[1]), min((top + size) * scale_y, shape[0])
    box = (left * scale_x, top * scale_y, right, bottom)
    return _resize(to_batch(pixels, data), size, data.eval_interpolation, box)


def _resize(pixels: np.ndarray, size: int, method: str, box: tuple[float, ...]) -> np.ndarray:
    """Resize a box (left, top, right, bottom) to `[size, size, C]`; floats stay in 0..1."""

    def resize(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((size, size), METHODS[method], box))

    if pixels.dtype == np.uint8:
        return resize(pixels)
    channels = [resize(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
    return np.clip(np.stack(channels, axis=2), 0, 1)
