"""A contact sheet: images as they are, and the views that the host and the accelerator make of each."""

import argparse
from collections.abc import Sequence
import dataclasses
from functools import partial
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from barlow_jax.augment.views import augment
from barlow_jax.config.schema import Config
from barlow_jax.config.validation.data import problems_of
from barlow_jax.config.validation.recipe import recipe_problems
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.report import contact_sheet


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """The first images of the run's first epoch, in its order and with its draws."""
    out = pathlib.Path(args.out) if args.out else workdir and workdir / "views.png"
    if out is None or out.suffix.lower() not in contact_sheet.SUFFIXES:
        raise UserError(f"--out: needs a file that ends in .png, .pdf or .svg, got {out}")
    source = splits.open_split(config.data, config.data.train_split)
    number = min(args.images, source.num_examples)
    if number < 1:
        raise UserError(f"--images: must be 1 or more, got {args.images}")
    columns = sheet(config, source, number)
    contact_sheet.draw(list(zip(*columns.values(), strict=True)), out, titles=list(columns))
    print(f"{number} images, {len(columns) - 1} columns of views: {out}", file=sys.stderr)
    return {"out": str(out), "images": number, "columns": list(columns)}


def sheet(
    config: Config, source: splits.Split, number: int, places: Sequence[str] = ("host", "device")
) -> dict[str, np.ndarray]:
    """`[number, height, width, 3]` uint8 levels by the name of the column: the original, then each view that is made
    in one of these places."""
    sampler = EpochSampler(config.seed, source.num_examples, number)
    index, _ = sampler.batch(0)
    (originals,) = source.eval_batches(
        dataclasses.replace(config.data, eval_resize=config.data.image_size),
        batch_size=number,
        shard=ProcessShard(),
        examples=index,
    )
    made = {}
    for place in places:
        case = dataclasses.replace(
            config, data=dataclasses.replace(config.data, augment_on=place, cache="none")
        )
        # An order that the accelerator cannot honour; arrays on the host.
        if any(recipe_problems(case)) or any(problems_of("data", case.data)):
            continue
        (batch,) = source.train_batches(case.data, config.recipe.views, SampleRange(sampler, 0, 1))
        views = batch.views
        if place == "device":
            size, seed = config.data.image_size, config.seed
            views = jax.jit(partial(augment, recipe=config.recipe, size=size, seed=seed))(views)
        made |= {f"view {name}, {place}": np.asarray(views[name]) for name in config.recipe.views}
    return {"original": originals.views["eval"]} | dict(sorted(made.items()))
