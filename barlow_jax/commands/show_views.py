"""Draw a contact sheet of images and their augmented views, as the network receives them."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=("show-views --config digits --out views.png", "show-views --images photos --out views.png"),
    images=True,
    workdir="optional",
    single_process=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the file to write and the number of rows."""
    parser.add_argument(
        "--out",
        type=flags.path,
        metavar="FILE",
        help=".png, .pdf or .svg file to write; default: views.png in the workdir",
    )
    parser.add_argument(
        "--channels",
        metavar="R,G,B",
        help="channels shown as red, green and blue, or one that is shown in gray, counted from 0; "
        "default: the first three, or the first one of fewer",
    )
    parser.add_argument(
        "--rows",
        type=flags.number(int, min=1),
        default=8,
        metavar="N",
        help="rows of the sheet, one per image; default: %(default)s",
    )


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Draw the first training images of a run and their views, with the run's random numbers."""
    from barlow_jax.data import splits
    from barlow_jax.reporting import contact_sheet

    channels = _parse_channels(args.channels, config.data.channels)
    out = Path(args.out) if args.out else workdir and workdir / "views.png"
    if out is None or out.suffix.lower() not in contact_sheet.SUFFIXES:
        raise UserError(f"--out: needs a file that ends in .png, .pdf or .svg, got {out}")
    source = splits.open_split(config.data, config.data.train_split)
    number = min(args.rows, source.num_examples)
    columns = contact_sheet.view_columns(config, source, number)
    titles = [f"{title}\n{views.min():.3g} to {views.max():.3g}" for title, views in columns.items()]
    rows = list(zip(*columns.values(), strict=True))
    contact_sheet.draw(rows, out, titles=titles, channels=channels)
    seen = contact_sheet.network_input(config, columns)
    log.info(f"{number} images, {len(columns) - 1} columns of views: {out}")
    means, stds = (f"{min(seen[key]):.2f} to {max(seen[key]):.2f}" for key in ("mean", "std"))
    log.info(
        f"the network sees {seen['size']} x {seen['size']} pixels of {seen['channels']} channels, normalized "
        f"float32: over the channels, mean {means}, std {stds}"
    )
    return {"out": str(out), "images": number, "columns": list(columns), "network_input": seen}


def _parse_channels(text: str | None, count: int) -> list[int]:
    numbers = text.split(",") if text is not None else []
    if len(numbers) in (0, 1, 3) and all(n.isdecimal() and int(n) < count for n in numbers):
        return [int(number) for number in numbers]
    raise UserError(
        f"--channels is {text}, but must be one or three numbers in 0..{count - 1} (config.data.channels)"
    )
