"""Crops of decoded images on the host with Pillow: padded images and the evaluation crop.

Pixels are `[height, width, C]` uint8 (three channels), uint16 or float32; results have the type of a batch
(`pixel_arrays.to_batch`).
"""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from barlow_jax.config.recipe import View
from barlow_jax.config.schema import Data
from barlow_jax.data.padded_images import pack_crops
from barlow_jax.data.pillow_views import METHODS, crop_box
from barlow_jax.data.pixel_arrays import to_batch
from barlow_jax.errors import UserError


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
