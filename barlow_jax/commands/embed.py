"""Write the features of a split, or of other images, to .npz or .parquet."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.data import catalog
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.errors import UserError
from barlow_jax.evals.neighbors import nearest
from barlow_jax.io import files, log
from barlow_jax.papers.scores import PIXELS, data_identity
from barlow_jax.workdir import provenance

if TYPE_CHECKING:
    from barlow_jax.data import splits
    from barlow_jax.evals import features
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.types import FeatureTable

COMMAND = Command(
    examples=(
        "embed --workdir runs/digits --out features.npz",
        "embed --workdir runs/digits --images photos --out photos.parquet --nearest 5",
    ),
    workdir="optional",
    encoder=True,
    baselines=("untrained", "pixels"),
    splits=(),
    default_config=lambda args: args.encoder and not args.workdir,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what to embed, and the files to write."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--split", metavar="NAME", help="split of the config's data set; default: config.data.eval_split"
    )
    source.add_argument(
        "--images",
        type=flags.path,
        metavar="PATH",
        help="embed all images of this folder, list, table, tar shards or arrays instead "
        "(docs/own_images.md); no labels needed",
    )
    parser.add_argument(
        "--out",
        type=flags.path,
        metavar="FILE",
        required=True,
        help="file to write, .npz or .parquet: features, labels (if any), names and index of the images",
    )
    parser.add_argument(
        "--nearest",
        type=flags.number(int, min=1),
        metavar="K",
        help="also draw a contact sheet of some images and their K nearest neighbors, to --out with the "
        "suffix .nearest.png",
    )
    parser.add_argument(
        "--queries",
        type=flags.number(int, min=1),
        default=8,
        metavar="N",
        help="rows of the contact sheet, spread evenly over the images; default: %(default)s",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what is missing: a workdir or an encoder, the split."""
    problems = []
    if not (args.workdir or args.encoder or args.dry_run):
        problems.append("--workdir is missing. Pass the run whose encoder to use, or --encoder.")
    if config is not None and not args.images:
        # A split of any size will do, so its number of images is not validated.
        problems += catalog.count_images(config.data, (args.split or config.data.eval_split,))[1]
    return problems


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Write the features, and return the number of rows and their source."""
    import jax

    from barlow_jax.evals import table_files
    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.networks.encoders import representation_width

    out = pathlib.Path(args.out)
    table_files.check(out)
    source = _open_source(config, args)
    config = _limit_batch_size(config, source.num_examples)
    width = (
        config.data.image_size**2 * config.data.channels
        if args.feature_source == PIXELS
        else representation_width(config.network, **config.data.image)
    )
    if jax.process_index() == 0:
        files.check_free_space(out.parent, 4 * source.num_examples * width)
    experiment = Experiment.from_config(config)
    encode, step = experiment.encoder(encoders.encoder_path(workdir, args), args.feature_source)
    table = _extract(experiment, encode, source)
    about = {
        "feature_source": args.feature_source,
        "step": step,
        "encoder": config.network.encoder,
        **({"images_of": os.path.abspath(args.images)} if args.images else _data_and_split(config, args)),
    }
    written = {"out": str(out)}
    if jax.process_index() == 0:
        names = [source.decode_failures.name(index) for index in table.index.tolist()]
        corners = getattr(source, "corners", None)
        table_files.write(out, table, names, about, None if corners is None else corners[table.index])
        log.info(f"{len(names)} rows of {width} features: {out}")
        if args.nearest:
            sheet = out.with_suffix(".nearest.png")
            _draw_nearest(config, args, source, table, names, sheet)
            written["nearest"] = str(sheet)
    return {
        **about,
        "images": len(table.index),
        "width": width,
        "decode_failures": table.decode_failures,
        **written,
        **provenance.stamp(),
    }


def _open_source(config: Config, args: argparse.Namespace) -> splits.Split:
    from barlow_jax.distributed import same_data

    if args.images:
        return same_data.open_images(args.images, config.data)
    split = _data_and_split(config, args)["split"]
    source = same_data.open_split(config.data, split)
    if not source.num_examples:
        raise UserError(f"--split: {split} of {config.data.name} has no images; choose another split")
    return source


def _data_and_split(config: Config, args: argparse.Namespace) -> dict[str, str | None]:
    identity = data_identity(dataclasses.asdict(config.data))
    return {
        "data": config.data.name,
        "data_dir": identity["data_dir"],
        "split": args.split or config.data.eval_split,
    }


def _limit_batch_size(config: Config, num_images: int) -> Config:
    """Avoid padding a few images to a large batch: a row of padding costs as much as an image."""
    import jax

    devices = jax.device_count()
    limit = -(-num_images // devices) * devices
    return dataclasses.replace(config, eval_batch_size=min(config.eval_batch_size, limit))


def _extract(experiment: Experiment, encode: features.Encode, source: splits.Split) -> FeatureTable:
    """Return the features in the order of the data set."""
    from barlow_jax.evals import features
    from barlow_jax.training.progress import show_progress
    from barlow_jax.types import FeatureTable

    batches = show_progress(
        experiment.eval_batches(source),
        num_images=source.num_examples,
        batch_size=experiment.config.eval_batch_size,
    )
    table = features.extract(encode, batches, experiment.layout)
    if not len(table.index):
        raise UserError(f"none of the {source.num_examples} images can be decoded")
    if np.any(np.diff(table.index) < 0):  # the mesh may order the rows of several processes differently
        order = np.argsort(table.index)
        table = FeatureTable(*(rows[order] for rows in table[:3]))
    return table._replace(decode_failures=source.num_examples - len(table.index))


def _draw_nearest(
    config: Config,
    args: argparse.Namespace,
    source: splits.Split,
    table: FeatureTable,
    names: list[str],
    out: pathlib.Path,
) -> None:
    """Draw a row for each query image: the image, and its nearest neighbors with their cosines."""
    from barlow_jax.reporting import contact_sheet

    queries = np.linspace(0, len(table.index) - 1, min(args.queries, len(table.index))).astype(int)
    rows, cosines = nearest(table.features[queries], table.features, args.nearest, exclude=queries)
    cells = np.concatenate([queries[:, np.newaxis], rows], axis=1)  # of the sheet: row numbers of the table
    (batch,) = source.eval_batches(
        config.data, batch_size=cells.size, shard=ProcessShard(), examples=table.index[cells.ravel()]
    )
    images = batch.views["eval"].reshape(*cells.shape, *batch.views["eval"].shape[1:])

    def describe(row: int) -> str:
        label = table.labels[row]
        has_label = label.ndim == 0 and label >= 0
        return f"label {label}" if has_label else _shorten(os.path.basename(names[row]))

    captions = [
        [describe(query), *(f"{cosine:.3f}  {describe(n)}" for n, cosine in zip(near, values, strict=True))]
        for (query, *near), values in zip(cells, cosines, strict=True)
    ]
    titles = ["image", *(f"nearest {number}" for number in range(1, cells.shape[1]))]
    contact_sheet.draw(images, out, titles=titles, captions=captions)
    log.info(f"nearest neighbors of {len(queries)} images: {out}")


def _shorten(name: str, length: int = 12) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"
