"""Every setting has a test at a value that is not its default: a fault in what it does is then seen."""

import ast
import collections
import dataclasses
import pathlib
import re

from barlow_jax.config import values
from barlow_jax.config.schema import Config

TESTS = pathlib.Path(__file__).parents[1]
# What these set is refused, read back or compared with a paper, and nothing runs with it.
NOT_RUN = {
    "test_bad_input.py",
    "test_method_configs.py",
    "test_overrides.py",
    "test_readme.py",
    "test_reference.py",
    "test_settings_are_tested.py",
    "test_shipped_configs.py",
    "test_validation.py",
}
FLAG = re.compile(r"(?:--)?config\.([\w.]+)=(.*)", re.DOTALL)
KEY = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)+")
UNKNOWN = object()  # the value of an expression, such as a parameter of the test


def _settings(record=Config, group=""):
    """Yield the group, the record and the field of every setting."""
    for field in dataclasses.fields(record):
        if item := values.item_of_mapping(field.type):
            yield from _settings(item, field.name)
        elif dataclasses.is_dataclass(field.type):
            yield from _settings(field.type, field.name)
        else:
            yield group, record, field


SETTINGS = {(record.__name__, field.name): field for _, record, field in _settings()}
RECORDS = {(group, field.name): record.__name__ for group, record, field in _settings()}
OWNERS = collections.defaultdict(set)  # records by field
for _record, _name in SETTINGS:
    OWNERS[_name].add(_record)


def _records(name, group, file):
    """Return the records whose field a test means: of that group, else the only one that the file names."""
    if (group, name) in RECORDS:
        return {RECORDS[group, name]}
    owners = OWNERS.get(name, set())
    named = owners if len(owners) == 1 else owners & file
    return named if len(named) == 1 else set()


def _assignments(node, file):
    """Yield `(record, field, value)` for what a node of a test's syntax tree sets.

    `file` has the names of all records in the file of the test.
    """

    def by_path(path, value):
        *groups, name = path.split(".")
        for record in _records(name, groups[-1] if groups else None, file):
            yield record, name, value

    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if match := FLAG.fullmatch(node.value):
            yield from by_path(match[1], match[2])
    elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        if match := FLAG.match(node.values[0].value):
            yield from by_path(match[1], UNKNOWN)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield from by_path(key.value, _value(value))
    elif isinstance(node, ast.Tuple | ast.List | ast.Call):
        items = node.args if isinstance(node, ast.Call) else node.elts
        for key, value in zip(items, items[1:], strict=False):
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and KEY.fullmatch(key.value):
                yield from by_path(key.value, _value(value))
    if isinstance(node, ast.Call):
        yield from _keywords(node, file)
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                for record in _records(target.attr, getattr(target.value, "attr", None), file):
                    yield record, target.attr, _value(node.value)


def _keywords(call, file):
    called = getattr(call.func, "attr", getattr(call.func, "id", None))
    first = call.args[0] if call.args else None  # replace(config.group, ...), replace(getattr(view, op), ...)
    every = isinstance(first, ast.Call) and getattr(first.func, "id", None) == "getattr"
    positional = [name for record, name in SETTINGS if record == called]  # Solarize(1.0, 128)
    for name, value in zip(positional, call.args, strict=False):
        yield called, name, _value(value)
    for keyword in call.keywords:
        name = keyword.arg
        records = OWNERS.get(name, set()) if every else _records(name, getattr(first, "attr", None), file)
        for record in {called} if (called, name) in SETTINGS else records:
            yield record, name, _value(keyword.value)


def _value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


def _differs(record, name, value):
    field = SETTINGS[record, name]
    if isinstance(value, str):
        try:
            value = values.parse(field.type, value)
        except ValueError:
            return False
    return value is UNKNOWN or value != field.default


def _changed():
    known, changed = {record for record, _ in SETTINGS}, set()
    for path in TESTS.rglob("*.py"):
        if path.name in NOT_RUN:
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        file = known & {getattr(node, "id", getattr(node, "attr", None)) for node in nodes}
        for node in nodes:
            changed |= {found[:2] for found in _assignments(node, file) if _differs(*found)}
    return changed


def test_every_setting_is_changed_by_a_test():
    assert not sorted(SETTINGS.keys() - _changed())
