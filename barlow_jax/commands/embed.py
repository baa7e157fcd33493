"""Write the features of a split, or of other images, to .npz or .parquet."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.data import catalog
from barlow_jax.io.paths import Path
from barlow_jax.workdir import provenance

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


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Write the features, and return the number of rows and their source."""
    import jax

    from barlow_jax.experiment import embedding
    from barlow_jax.reporting import contact_sheet

    out, source = Path(args.out), args.feature_source
    path = Path(args.encoder or workdir)
    features = embedding.embed(
        config, path, split=args.split, images=args.images, feature_source=source, out=out
    )
    written = {"out": str(out)}
    if args.nearest and jax.process_index() == 0:
        sheet = out.with_suffix(".nearest.png")
        contact_sheet.draw_neighbors(features, args.nearest, args.queries, sheet)
        written["nearest"] = str(sheet)
    return {
        **features.about,
        "images": len(features),
        "width": features.features.shape[1],
        "decode_failures": features.decode_failures,
        **written,
        **provenance.stamp(),
    }
