"""Types of config values: description, check, and parsing of `--config.KEY=TEXT`."""

from collections.abc import Mapping
import dataclasses
import sys
import types
import typing
from typing import Any

from barlow_jax.config import parts
from barlow_jax.config.fields import Spec

_ONE = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
_LARGEST = {int: 2**63 - 1, float: sys.float_info.max}
_UNBOUNDED = Spec("")
_MANY = {int: "integers", float: "numbers", str: "words"}


def describe(kind: Any, spec: Spec = _UNBOUNDED) -> str:
    """Return the allowed values of a type within the bounds of a spec.

    >>> describe(float | None, Spec("", above=0))
    'a number > 0, or none'
    >>> describe(tuple[int, ...], Spec("", min=1, non_empty=True))
    'a non-empty list of integers, each >= 1'
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return f"{describe(args[0], spec)}, or none"
    if origin is typing.Literal:
        return f"one of {', '.join(args)}"
    if spec.part and not spec.is_path:
        names = (*parts.SHIPPED[spec.part], *spec.words, "a registered name", "MODULE:FUNCTION")
        return f"{', '.join(names)} or FILE.py:FUNCTION"
    interval = f" {spec.interval()}".rstrip()
    if origin is tuple:
        if typing.get_origin(args[0]) is typing.Literal:
            return f"a list of words, each {describe(args[0])}"
        each = f", each{interval}" if interval else ""
        return f"a {'non-empty ' if spec.non_empty else ''}list of {_MANY[args[0]]}{each}"
    return f"{_ONE[kind]}{interval}"


def member(kind: Any, name: str) -> Any:
    """Return the type of a field of a record, or of the items of a mapping."""
    return typing.get_type_hints(kind)[name] if dataclasses.is_dataclass(kind) else typing.get_args(kind)[1]


def item_of_mapping(kind: Any) -> Any | None:
    """Return the type of a mapping's items, None for other types."""
    return typing.get_args(kind)[1] if typing.get_origin(kind) is Mapping else None


def check(kind: Any, value: Any) -> Any:
    """Return the value as this type.

    Raises:
      ValueError: the value has another type, or is NaN, infinite or an integer of more than 64 bits.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else check(args[0], value)
    if origin is typing.Literal:
        if value in args:
            return value
    elif origin is tuple:
        if isinstance(value, (tuple, list)):
            return tuple(check(args[0], item) for item in value)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST[float]:
            return float(value)
    elif isinstance(value, kind) and (
        kind is not int or (not isinstance(value, bool) and abs(value) <= _LARGEST[int])
    ):
        return value
    raise ValueError(value)


def convert(kind: Any, value: Any) -> Any:
    """Return a value of Python or NumPy as this type; raises as `check`."""
    if isinstance(value, (tuple, list)):
        value = [item.tolist() if hasattr(item, "tolist") else item for item in value]
    return check(kind, value.tolist() if hasattr(value, "tolist") else value)


def parse(kind: Any, text: str) -> Any:
    """Return the value that a user wrote as text.

    Raises:
      ValueError: the text is no value of this type.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if text.lower() == "none" else parse(args[0], text)
    if origin is tuple:
        inner = text.strip().strip("()[]")
        return tuple(parse(args[0], part.strip(" '\"")) for part in inner.split(",") if part.strip())
    if kind is bool:
        return check(bool, {"true": True, "1": True, "false": False, "0": False}.get(text.lower()))
    if kind is str or origin is typing.Literal:
        return check(kind, str(text))
    return check(kind, kind(text))  # a number
