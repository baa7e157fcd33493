"""Declaration of a command: what it needs before it can run.

A command is one file in `commands/`. The first line of its docstring is its summary. The file defines

- `COMMAND`, a `Command`;
- `add_flags(parser)`, if it has flags of its own;
- `check(args, config) -> list[str]`, if it has checks of its own: one sentence per problem. `config` is None
  if it could not be read;
- `run(config, workdir, args) -> dict`, which returns its results.
"""

import argparse
from collections.abc import Callable
import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Command:
    """Requirements of a command."""

    examples: tuple[str, ...]  # command lines for --help, without `python -m barlow_jax`
    # What is validated before `run`. "runs": that --workdir holds a run; no config is read. "types": the keys
    # and types of the config. "config": also that the config can run. "data": also data set and devices.
    checks: Literal["runs", "types", "config", "data"] = "data"
    workdir: Literal["required", "optional", "several", "none"] = "required"
    single_process: bool = False  # cannot run as several processes, and has no --dry-run
    encoder: bool = False  # takes --encoder
    images: bool = False  # takes --images and --labels, for which the config is chosen
    baselines: tuple[Literal["untrained", "pixels"], ...] = ()  # a flag for each
    splits: tuple[str, ...] = ("train_split", "eval_split")  # keys of config.data whose splits must exist
    trains: bool = False  # the objective checks its own settings; --dry-run compiles the train step
    # Arguments whose values are part of the name of the results file.
    variants: tuple[str, ...] = ("feature_source",)
    failure: tuple[str, int] | None = None  # a field of the results, and the exit code if it is False
    config_groups: tuple[str, ...] = ()  # groups of config keys that --help lists, such as "probe"
    # Whether the default config serves if neither --config nor --workdir is given.
    default_config: Callable[[argparse.Namespace], bool] = lambda args: False
