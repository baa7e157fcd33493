"""List the keys of the config, or show the values, bounds and documentation of some."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import reference
from barlow_jax.config.records import suggest_key
from barlow_jax.config.schema import Config
from barlow_jax.io import files, log
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=("config", "config optim.learning_rate data.cache", "config optim --config digits"),
    checks="types",
    workdir="optional",
    single_process=True,
    default_config=lambda args: True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "keys",
        nargs="*",
        metavar="KEY",
        help="key such as optim.learning_rate, or group such as optim; default: list all keys",
    )
    parser.add_argument(
        "--markdown", type=flags.path, metavar="FILE", help="write docs/config.md, the reference of all keys"
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return a problem for each key that does not exist."""
    known = reference.keys_of(config or Config())
    problems = ["--workdir: config reads no run; leave it out"] if args.workdir else []
    return problems + [
        f"config.{name} does not exist. {suggest_key(name, list(known))}"
        for name in map(_name, args.keys)
        if not _matching(name, known)
    ]


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Print the keys; return their values by name, or the path of the written reference."""
    if args.markdown:
        path = Path(args.markdown)
        files.write_text(path, reference.format_markdown())
        return {"markdown": str(path)}
    if not args.keys:
        log.info(reference.format_listing())
        return {"num_keys": len(reference.keys_of(config))}
    known, defaults = reference.keys_of(config), reference.keys_of(Config())
    chosen = dict.fromkeys(key for name in map(_name, args.keys) for key in _matching(name, known))
    for key in chosen:
        default = defaults.get(key, known[key]).value
        log.info(reference.format_key(known[key], default))
    return {key: known[key].value for key in chosen}


def _name(text: str) -> str:
    return text.removeprefix("--").removeprefix("config.")


def _matching(name: str, known: dict[str, reference.Key]) -> list[str]:
    return [key for key in known if key == name or key.startswith(f"{name}.")]
