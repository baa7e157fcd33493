"""A contact sheet: images as they are, and the views that the host and the accelerator make of each."""

import argparse
import pathlib
import sys
from typing import Any

from barlow_jax.config.schema import Config
from barlow_jax.data import splits
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
    columns = contact_sheet.view_columns(config, source, number)
    contact_sheet.draw(list(zip(*columns.values(), strict=True)), out, titles=list(columns))
    print(f"{number} images, {len(columns) - 1} columns of views: {out}", file=sys.stderr)
    return {"out": str(out), "images": number, "columns": list(columns)}
