"""Conversions between the typed Config and what users write: config files, `--config.KEY=VALUE`, JSON.

Nothing here stops at the first mistake. Every function returns its result and a list of problems, each
one sentence that names the key, the value and the remedy.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import runpy
import traceback
from typing import Any

import ml_collections

from barlow_jax.config import data_sets, records, shipped, values
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def default_config() -> ml_collections.ConfigDict:
    """Return the defaults as a locked ConfigDict, the starting point of a config file."""
    return to_config_dict(Config())


def to_config_dict(config: Config) -> ml_collections.ConfigDict:
    """Return a Config as a locked ConfigDict."""
    return ml_collections.ConfigDict(dataclasses.asdict(config)).lock()


def load_sibling(file: str, name: str, *arguments: str) -> ml_collections.ConfigDict:
    """Return the config of `name`.py in the folder of `file`, for config files that modify another one."""
    return runpy.run_path(str(pathlib.Path(file).with_name(f"{name}.py")))["get_config"](*arguments)


Change = Callable[[ml_collections.ConfigDict], None]


def adapt_to_data(
    file: str, argument: str, changes: Mapping[str, Change], variants: Mapping[str, Change] | None = None
) -> ml_collections.ConfigDict:
    """Return a method's config for one data set: the config of that data set, changed by `changes`.

    Args:
      file: the method's config file, next to those of the data sets.
      argument: `DATA` or `VARIANT_DATA`: the name of a config such as `cifar10`, or of a data set of
        `data_sets.DATA_SETS`, which has the changes of its recipe unless it has its own.
      changes: by config or data set.
      variants: changes of the method, by the name of the variant; they come last.

    Raises:
      ValueError: `changes` has no entry for this data set.
    """
    variants = variants or {}
    variant = next((name for name in variants if argument.startswith(f"{name}_")), "")
    data = argument.removeprefix(f"{variant}_") if variant else argument
    recipe = data_sets.recipe_of(data)
    if recipe not in changes:
        name = pathlib.Path(file).name
        names = [*changes, *(d for d in data_sets.DATA_SETS if data_sets.recipe_of(d) in changes)]
        raise ValueError(
            f"{name} does not support {argument!r}. Use {', '.join(f'{name}:{d}' for d in names)}"
            + (f"; variants: {', '.join(f'{name}:{v}_{names[0]}' for v in variants)}" if variants else "")
        )
    config = load_sibling(file, recipe)
    changes.get(data, changes[recipe])(config)
    data_sets.use_data_set(config, data, recipe)
    if variant:
        variants[variant](config)
    return config


def load_config_file(path: str) -> tuple[ml_collections.ConfigDict, list[str]]:
    """Run `get_config()` of a config file (which is Python code: run only files you trust).

    `path` is a file or the name of a shipped config; with `:ARGUMENT`, `get_config("ARGUMENT")` runs.
    """
    name, argument = shipped.split_argument(path)
    try:
        file = shipped.config_path(name)
    except UserError as error:
        return default_config(), [str(error)]
    try:
        # Not the import system, which writes and reads `__pycache__` next to the file.
        names = runpy.run_path(str(file), run_name="barlow_jax_config_file")
        if "get_config" not in names:
            raise AttributeError("the file has no function get_config")
        config = names["get_config"](*([] if argument is None else [argument]))
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError(f"get_config() must return a ConfigDict, not {type(config).__name__}")
        return config, []
    except Exception as error:  # a user's file may raise anything; report the line that raised
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        location = f"{path}, line {lines[-1]}" if lines else path
        return default_config(), [f"{location}: {type(error).__name__}: {' '.join(str(error).split())}"]


def apply_overrides(tree: dict[str, Any], overrides: Sequence[tuple[str, str]]) -> list[str]:
    """Write pairs such as `("optim.learning_rate", "0.3")` into a nested dict; skip and report wrong ones."""
    return records.write(Config, tree, overrides, values.parse)


def from_tree(tree: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return a nested dict as a Config, and the problems; wrong values are replaced by their defaults."""
    return records.build(Config, tree)
