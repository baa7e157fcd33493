"""Conversions between the typed Config and what users write: config files, `--config.KEY=VALUE`, JSON.

Nothing here stops at the first mistake. Every function returns its result and a list of problems, each
one sentence that names the key, the value and the remedy.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import difflib
import functools
import os
import pathlib
import runpy
import traceback
import typing
from typing import Any

import ml_collections

from barlow_jax.config import shipped, values
from barlow_jax.config.fields import Spec
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def default_config() -> ml_collections.ConfigDict:
    """Return the defaults as a locked ConfigDict, the starting point of a config file."""
    return to_config_dict(Config())


def to_config_dict(config: Config) -> ml_collections.ConfigDict:
    """Return a Config as a locked ConfigDict."""
    return ml_collections.ConfigDict(dataclasses.asdict(config)).lock()


def load_sibling(file: str, name: str) -> ml_collections.ConfigDict:
    """Return the config of `name`.py in the folder of `file`, for config files that modify another one."""
    return runpy.run_path(str(pathlib.Path(file).with_name(f"{name}.py")))["get_config"]()


def adapt_to_data(
    file: str, data: str, changes: Mapping[str, Callable[[ml_collections.ConfigDict], None]]
) -> ml_collections.ConfigDict:
    """Return the sibling config `data`, changed by `changes[data]`: a method's config for one data set.

    Raises:
      ValueError: `changes` has no entry for this data set.
    """
    if data not in changes:
        name = pathlib.Path(file).name
        raise ValueError(
            f"{name} does not support {data!r}. Use " + ", ".join(f"{name}:{d}" for d in changes)
        )
    config = load_sibling(file, data)
    changes[data](config)
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
    problems = []
    known = list(flatten(tree))
    for key, text in overrides:
        if names := key not in known and _children(key.split("."), known):
            problems.append(f"config.{key} is a group of keys: {', '.join(names)}.")
            continue
        if key not in known:
            problems.append(f"config.{key} does not exist. {suggest_key(key, known)}")
            continue
        *parents, leaf = key.split(".")
        node = functools.reduce(lambda inner, name: inner[name], parents, tree)
        record = functools.reduce(values.member, parents, Config)
        try:
            node[leaf] = values.parse(values.member(record, leaf), text)
        except ValueError:
            problems.append(_wrong_type(record, leaf, f"config.{key}", text))
    return problems


def from_tree(tree: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return a nested dict as a Config, and the problems; wrong values are replaced by their defaults."""
    problems: list[str] = []
    return _build_record(Config, tree, "config", problems), problems


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict with dotted keys: {"optim": {"name": "sgd"}} becomes {"optim.name": "sgd"}."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def suggest_key(key: str, known: Sequence[str]) -> str:
    """Return a sentence with the known key that was probably meant, or with the keys of its group."""
    *groups, leaf = key.split(".")
    siblings = [k for k in known if k.split(".")[:-1] == groups]

    def similarity(candidate: str) -> float:
        """Compare name with name and group with group; a shorter key is the better guess."""
        *parents, name = candidate.split(".")
        is_abbreviation = "".join(word[0] for word in name.split("_")) == leaf  # lr
        of_name = 1.0 if is_abbreviation else difflib.SequenceMatcher(None, leaf, name).ratio()
        # A group that exists is what was meant. One that does not is misspelled or lacks its beginning. Of
        # other keys, only the very name is a guess.
        is_group = len(parents) == len(groups) or parents[-len(groups) :] == groups
        if of_name < (0.6 if candidate in siblings or not groups or (is_group and not siblings) else 1.0):
            return 0.0
        if not groups:
            return of_name - 0.01 * len(parents)
        spelling = difflib.SequenceMatcher(None, ".".join(groups), ".".join(parents)).ratio()
        of_groups = difflib.SequenceMatcher(None, groups, parents).ratio()
        return of_name + of_groups + 0.1 * spelling - 0.05 * len(parents)

    scores = {candidate: similarity(candidate) for candidate in known}
    if best := max(scores.values()):
        nearest = [f"config.{candidate}" for candidate, score in scores.items() if score == best]
        return f"Did you mean {' or '.join(nearest[:1] if groups else nearest)}?"
    while groups and not _children(groups, known):
        groups.pop()
    return f"The keys of {'.'.join(groups) or 'config'} are {', '.join(_children(groups, known))}."


def _children(groups: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names of the keys and groups in a group."""
    paths = [key.split(".") for key in known]
    depth = len(groups)
    inner = [path for path in paths if path[:depth] == list(groups) and len(path) > depth]
    return list(dict.fromkeys(path[depth] for path in inner))


def _build_record(kind: type, tree: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(tree, Mapping):
        problems.append(f"{path} is {tree!r}, but must be a group of keys.")
        return kind()
    hints = typing.get_type_hints(kind)
    for name in sorted(tree.keys() - hints.keys()):
        near = difflib.get_close_matches(name, hints, 1, cutoff=0.5)
        hint = f" Did you mean {path}.{near[0]}?" if near else ""
        problems.append(f"{path}.{name} does not exist.{hint}")
    given = {}
    for name, hint in hints.items():
        if name in tree:
            try:
                value = _build(hint, tree[name], f"{path}.{name}", problems)
                given[name] = _absolute(value, _spec(kind, name)) if value else value
            except ValueError:
                problems.append(_wrong_type(kind, name, f"{path}.{name}", tree[name]))
    return kind(**given)


def _absolute(value: Any, spec: Spec) -> Any:
    """Return a path so that it holds in another working directory too; URLs and other values stay."""
    is_path = (spec.is_path and value not in spec.words) or (spec.is_code and ".py:" in value)
    return os.path.abspath(os.path.expanduser(value)) if is_path and "://" not in value else value


def _build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_record(kind, value, path, problems)
    if item := values.item_of_mapping(kind):
        if not isinstance(value, Mapping):
            problems.append(f"{path} is {value!r}, but must be a group of keys.")
            return {}
        return {name: _build(item, part, f"{path}.{name}", problems) for name, part in value.items()}
    return values.check(kind, value)


def _wrong_type(record: type, name: str, path: str, value: Any) -> str:
    kind = values.describe(values.member(record, name), _spec(record, name))
    return f"{path} is {value!r}, but must be {kind}."


def _spec(record: type, name: str) -> Spec:
    return record.__dataclass_fields__[name].metadata.get("spec", Spec(""))
