"""Contact sheets: drawing of a grid of images, and columns of example views to fill one."""

from collections.abc import Mapping, Sequence
import dataclasses
from functools import partial
import math
import os
from typing import Any

import jax
import numpy as np

from barlow_jax.augment.views import augment, normalize
from barlow_jax.config.schema import Config
from barlow_jax.config.validation.data import problems_of
from barlow_jax.config.validation.recipe import recipe_problems
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.evals.neighbors import nearest
from barlow_jax.experiment.embedding import Features
from barlow_jax.io import files, log
from barlow_jax.io.paths import Path

SUFFIXES = (".png", ".pdf", ".svg")
_CELL_INCHES = 1.4
_CAPTION_INCHES = 0.2


def draw(
    images: Sequence[Sequence[np.ndarray]],
    out: Path,
    *,
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] | None = None,
    channels: Sequence[int] = (),
) -> None:
    """Write a contact sheet; the file's suffix is one of SUFFIXES.

    Images, each `[height, width, C]`, and captions, one line below each, are by row and column. `composite`
    turns the images into colors.
    """
    from matplotlib.figure import Figure

    rows, columns = len(images), len(images[0])
    caption_inches = _CAPTION_INCHES if captions else 0.0
    figure = Figure(figsize=(_CELL_INCHES * columns, (_CELL_INCHES + caption_inches) * rows))
    gaps = {"wspace": 0.05, "hspace": 0.05 + caption_inches / _CELL_INCHES}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=gaps)
    for row, column in np.ndindex(rows, columns):
        axes[row, column].imshow(composite(images[row][column], channels), interpolation="nearest")
        axes[row, column].set_axis_off()
        if captions:
            below = {"transform": axes[row, column].transAxes, "ha": "center", "va": "top", "fontsize": 7}
            axes[row, column].text(0.5, -0.03, captions[row][column], **below)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title, fontsize=9)
    # At least one pixel of the file per image pixel.
    dpi = max(100, math.ceil(images[0][0].shape[1] / _CELL_INCHES))
    files.write(
        out, lambda file: figure.savefig(file, format=out.suffix[1:].lower(), bbox_inches="tight", dpi=dpi)
    )


def draw_neighbors(table: Features, neighbors: int, number: int, out: Path) -> None:
    """Draw a row for each of some images: the image, and its nearest neighbors with their cosines."""
    queries = np.linspace(0, len(table) - 1, min(number, len(table))).astype(int)
    rows, cosines = nearest(table.features[queries], table.features, neighbors, exclude=queries)
    cells = np.concatenate([queries[:, np.newaxis], rows], axis=1)  # of the sheet: row numbers of the table
    images = table.images(cells)

    def describe(row: int) -> str:
        label, name = table.labels[row], os.path.basename(table.names[row])
        if label.ndim == 0 and label >= 0:
            return f"label {label}"
        return name if len(name) <= 12 else f"…{name[-11:]}"

    captions = [
        [describe(query), *(f"{cosine:.3f}  {describe(n)}" for n, cosine in zip(near, values, strict=True))]
        for (query, *near), values in zip(cells, cosines, strict=True)
    ]
    titles = ["image", *(f"nearest {number}" for number in range(1, cells.shape[1]))]
    draw(images, out, titles=titles, captions=captions)
    log.info(f"nearest neighbors of {len(queries)} images: {out}")


def composite(images: np.ndarray, channels: Sequence[int] = ()) -> np.ndarray:
    """Return `[..., 3]` uint8 pixel values to look at, of `[..., C]` uint8 values or float32 values in 0..1.

    Three of the channels are shown as red, green and blue, or one of them in gray. Default: the first three,
    or the first one of fewer.
    """
    shown = images[..., list(channels or (range(3) if images.shape[-1] >= 3 else [0]))]
    shown = shown if shown.dtype == np.uint8 else np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return np.broadcast_to(shown, (*shown.shape[:-1], 3))


def network_input(config: Config, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return size and channels of columns of views, and each channel's mean and std after normalization."""
    views = [columns[title] for title in columns if title != "original"]
    pixels = [images.reshape(-1, images.shape[-1]) for images in views]
    values = np.asarray(normalize(np.concatenate(pixels), config.recipe.views["a"].normalize))
    mean, std = (statistic(axis=0).tolist() for statistic in (values.mean, values.std))
    return {"size": config.data.image_size, "channels": values.shape[1], "mean": mean, "std": std}


def view_columns(
    config: Config, source: splits.Split, number: int, augment_on: Sequence[str] = ("host", "device")
) -> dict[str, np.ndarray]:
    """Return the run's first training images and their augmented views.

    The images are the first of epoch 0, in the run's order and with its random numbers. The implementations
    of the augmentation in `augment_on` make the views; one that does not support the recipe or the data
    source is left out.

    Returns:
      `[number, height, width, C]` images by column title: "original", "view a, host" and so on.
    """
    sampler = EpochSampler(config.seed, source.num_examples, number)
    index, _ = sampler.batch(0)
    (originals,) = source.eval_batches(
        dataclasses.replace(config.data, eval_resize=config.data.image_size),
        batch_size=number,
        shard=ProcessShard(),
        examples=index,
    )
    columns = {}
    for target in augment_on:
        data = dataclasses.replace(config.data, augment_on=target, cache="none")
        if any(recipe_problems(dataclasses.replace(config, data=data))) or any(problems_of("data", data)):
            continue
        (batch,) = source.train_batches(data, config.recipe.views, SampleRange(sampler, 0, 1))
        views = batch.views
        if target == "device":
            size, seed = config.data.image_size, config.seed
            views = jax.jit(partial(augment, recipe=config.recipe, size=size, seed=seed))(views)
        columns |= {f"view {name}, {target}": np.asarray(views[name]) for name in config.recipe.views}
    return {"original": originals.views["eval"]} | dict(sorted(columns.items()))
