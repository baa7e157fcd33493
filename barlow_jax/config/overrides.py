"""Between the typed Config and what users write: config files, `--config.x=y`, JSON.

Nothing here stops at the first mistake: every function returns what it made and a list of problems,
each one sentence that names the key and the remedy.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import difflib
import functools
import importlib.util
import pathlib
import runpy
import traceback
import types
import typing
from typing import Any

import ml_collections

from barlow_jax.config.schema import Config


def default_config() -> ml_collections.ConfigDict:
    """The defaults as a locked ConfigDict: what a config file starts from."""
    return to_config_dict(Config())


def to_config_dict(config: Config) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(dataclasses.asdict(config)).lock()


def load_sibling(file: str, name: str) -> ml_collections.ConfigDict:
    """What the config file `name` gives that lies beside `file`: what a config that is a change of it starts from."""
    return runpy.run_path(str(pathlib.Path(file).with_name(f"{name}.py")))["get_config"]()


def adapt_to_data(
    file: str, data: str, changes: Mapping[str, Callable[[ml_collections.ConfigDict], None]]
) -> ml_collections.ConfigDict:
    """The sibling `data` with the changes that are for it: a method's config beside those of Barlow Twins.

    Raises:
      ValueError: there are none for it.
    """
    if data not in changes:
        name = pathlib.Path(file).name
        raise ValueError(
            f"{name} has nothing for {data!r}; there are " + ", ".join(f"{name}:{d}" for d in changes)
        )
    config = load_sibling(file, data)
    changes[data](config)
    return config


def load_config_file(path: str) -> tuple[ml_collections.ConfigDict, list[str]]:
    """Runs `get_config()` of a config file (which is Python code: run only files you trust).

    `FILE.py:ARGUMENT` runs `get_config("ARGUMENT")`.
    """
    stem, colon, argument = path.rpartition(".py:")
    file = pathlib.Path(f"{stem}.py" if colon else path)
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.py")], 1)
        hint = f"; did you mean {file.parent / near[0]}?" if near else ""
        return default_config(), [f"--config: there is no file {file}{hint}"]
    try:
        spec = importlib.util.spec_from_file_location("barlow_jax_config_file", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config(*([argument] if colon else []))
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError(f"get_config() must return a ConfigDict, not {type(config).__name__}")
        return config, []
    except Exception as error:  # whatever a user's file raises is the user's to read, with its line
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        where = f"{path}, line {lines[-1]}" if lines else path
        return default_config(), [f"{where}: {type(error).__name__}: {' '.join(str(error).split())}"]


def apply_overrides(tree: dict[str, Any], overrides: Sequence[tuple[str, str]]) -> list[str]:
    """Writes `("optim.learning_rate", "0.3")` pairs into a nested dict; a pair that is wrong is left out."""
    problems = []
    known = list(flatten(tree))
    for key, text in overrides:
        if key not in known:
            problems.append(f"config.{key}: there is no such key; {_hint(key, known)}")
            continue
        *parents, leaf = key.split(".")
        node = functools.reduce(lambda inner, name: inner[name], parents, tree)
        kind = functools.reduce(_member, key.split("."), Config)
        try:
            node[leaf] = _read_text(kind, text)
        except ValueError:
            problems.append(f"config.{key}: expected {_describe(kind)}, got {text!r}")
    return problems


def from_tree(tree: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """A nested dict (of a ConfigDict or of JSON) as a Config; where a value is wrong, the default stands."""
    problems: list[str] = []
    return _build_record(Config, tree, "config", problems), problems


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"name": "sgd"}} becomes {"optim.name": "sgd"}."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _hint(key: str, known: Sequence[str]) -> str:
    """The key that was probably meant, or those that there are."""
    group, _, leaf = key.rpartition(".")
    leaves = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == group}
    near = [k for name, k in leaves.items() if "".join(word[0] for word in name.split("_")) == leaf]  # lr
    near += [leaves[name] for name in difflib.get_close_matches(leaf, leaves, 1)]
    near += [k for k in known if k.rpartition(".")[2] == leaf]  # the right name in another group
    near += [] if leaves else difflib.get_close_matches(key, known, 1)
    return (
        f"did you mean config.{near[0]}?" if near else f"{group or 'config'} has {', '.join(leaves or known)}"
    )


def _member(kind: Any, name: str) -> Any:
    """The type of a field of a record, or of the items of a mapping."""
    return typing.get_type_hints(kind)[name] if dataclasses.is_dataclass(kind) else typing.get_args(kind)[1]


def _build_record(kind: type, tree: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(tree, Mapping):
        problems.append(f"{path}: expected a group of keys, got {tree!r}")
        return kind()
    hints = typing.get_type_hints(kind)
    for name in tree.keys() - hints.keys():
        near = difflib.get_close_matches(name, hints, 1, cutoff=0.5)
        hint = f"; did you mean {path}.{near[0]}?" if near else ""
        problems.append(f"{path}.{name}: there is no such key{hint}")
    given = {}
    for name, hint in hints.items():
        if name in tree:
            try:
                given[name] = _build(hint, tree[name], f"{path}.{name}", problems)
            except ValueError:
                problems.append(f"{path}.{name}: expected {_describe(hint)}, got {tree[name]!r}")
    return kind(**given)


def _build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_record(kind, value, path, problems)
    if typing.get_origin(kind) is Mapping:
        item = typing.get_args(kind)[1]
        return {name: _build(item, part, f"{path}.{name}", problems) for name, part in value.items()}
    return _check(kind, value)


def _check(kind: Any, value: Any) -> Any:
    """`value` as `kind`, where nothing is lost by it; ValueError otherwise."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _check(args[0], value)
    if origin is typing.Literal:
        if value in args:
            return value
    elif origin is tuple:
        if isinstance(value, (tuple, list)):
            return tuple(_check(args[0], item) for item in value)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(value)


def _read_text(kind: Any, text: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if text.lower() == "none" else _read_text(args[0], text)
    if origin is tuple:
        inner = text.strip().strip("()[]")
        return tuple(_read_text(args[0], part.strip(" '\"")) for part in inner.split(",") if part.strip())
    if kind is bool:
        return _check(bool, {"true": True, "1": True, "false": False, "0": False}.get(text.lower()))
    if kind is str or origin is typing.Literal:
        return _check(kind, str(text))
    try:
        return _check(kind, ast.literal_eval(text))
    except (SyntaxError, TypeError) as error:
        raise ValueError(text) from error


def _describe(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return f"{_describe(args[0])} or none"
    if origin is typing.Literal:
        return "one of " + ", ".join(args)
    if origin is tuple:
        return f"a list of such: {_describe(args[0])}"
    return {int: "an integer", float: "a number", bool: "true or false", str: "text"}[kind]
