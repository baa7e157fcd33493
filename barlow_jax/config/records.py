"""Config records as nested dicts: building them, dotted keys, and replacing values.

Nothing here stops at the first mistake. Every problem is one sentence that names the key, the value and the
remedy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import difflib
import functools
import typing
from typing import Any, Self

from barlow_jax.config import fields, parts, values
from barlow_jax.config.fields import Spec
from barlow_jax.errors import UserError
from barlow_jax.io import paths


@dataclasses.dataclass(frozen=True)
class Record:
    """Config record that can be copied with other values."""

    def replace(self, overrides: Mapping[str, Any]) -> Self:
        """Return a copy with other values; keys, types and bounds are checked as on the command line.

            config = config.replace({"optim.learning_rate": 0.3, "train.num_epochs": 20})

        Args:
          overrides: values by dotted key, of the types that docs/config.md states. Settings that only
            contradict each other are found when the config is used.

        Raises:
          UserError: a key does not exist, or a value has the wrong type or lies outside the key's bounds.
        """
        tree = dataclasses.asdict(self)
        problems = write(type(self), tree, overrides.items(), values.convert)
        replaced, more = build(type(self), tree)
        outside = [problem for key, problem in bound_problems(replaced) if key in overrides]
        if problems := [*problems, *more, *outside]:
            raise UserError.from_problems(problems)
        return replaced


def write(
    kind: type, tree: dict[str, Any], changes: Iterable[tuple[str, Any]], convert: Callable[[Any, Any], Any]
) -> list[str]:
    """Write pairs of a dotted key and a value into the nested dict of a record; skip and report wrong ones.

    `convert(type, value)` returns the value to write, or raises ValueError.
    """
    problems = []
    known = list(flatten(tree))
    for key, text in changes:
        if names := key not in known and _children(key.split("."), known):
            problems.append(f"config.{key} is a group of keys: {', '.join(names)}.")
            continue
        if key not in known:
            problems.append(f"config.{key} does not exist. {suggest_key(key, known)}")
            continue
        *parents, leaf = key.split(".")
        node = functools.reduce(lambda inner, name: inner[name], parents, tree)
        record = functools.reduce(values.member, parents, kind)
        try:
            node[leaf] = convert(values.member(record, leaf), text)
        except ValueError:
            problems.append(_wrong_type(record, leaf, f"config.{key}", text))
    return problems


def build(kind: type, tree: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return a nested dict as a record, and the problems; wrong values are replaced by their defaults."""
    problems: list[str] = []
    return _build_record(kind, tree, "config", problems), problems


def bound_problems(record: Any) -> Iterator[tuple[str, str]]:
    """Yield the key of each value outside its bounds, and a sentence about it."""
    for key, field, value in fields.walk(record):
        spec = field.metadata["spec"]
        if not spec.accepts(value):
            yield key, f"config.{key} is {value}, but must be {values.describe(field.type, spec)}."
        named = value if spec.part and not spec.is_path else None
        if named is not None and (reason := parts.problem(spec.part, named, spec.words)):
            yield key, f"config.{key} {reason}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict with dotted keys: {"optim": {"name": "sgd"}} becomes {"optim.name": "sgd"}."""
    flat: dict[str, Any] = {}
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


def _build_record(kind: Any, tree: Any, path: str, problems: list[str]) -> Any:
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
    is_path = spec.is_path and value not in spec.words
    if spec.part and (not is_path or parts.is_own(spec.part, value)):
        is_path = ".py:" in value
    return paths.absolute(value) if is_path else value


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


def _spec(record: Any, name: str) -> Spec:
    return record.__dataclass_fields__[name].metadata.get("spec", Spec(""))
