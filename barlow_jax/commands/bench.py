"""Measurements that anyone can repeat; one module each: `bench loss` is bench_loss."""

import argparse
import importlib
import pathlib
from typing import Any

from barlow_jax.config.schema import Config


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    return importlib.import_module(f"barlow_jax.commands.bench_{args.what}").run(config, workdir, args)
