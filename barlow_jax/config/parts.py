"""Parts of a run that its config names: shipped, registered, or functions of a user's code.

docs/extending.md has the signature of each kind's function.
"""

from collections.abc import Callable, Sequence
import difflib
import functools
import importlib
import os
import re
import runpy
import sys
import traceback
from typing import Any

from barlow_jax.config.architectures import CONVNEXTS, RESNETS, VITS
from barlow_jax.config.method_facts import METHODS
from barlow_jax.errors import UserError
from barlow_jax.io import checksums
from barlow_jax.io.paths import Path

# Names of the parts that this package has, by kind.
SHIPPED: dict[str, tuple[str, ...]] = {
    "encoder": (*RESNETS, *VITS, *CONVNEXTS),
    "head": ("mlp",),
    "objective": tuple(METHODS),
    "optimizer": ("lars", "sgd", "adamw"),
    "schedule": ("warmup_cosine",),
    "augmentation": (),
    "source": (),
}
_FUNCTION = re.compile(r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")
_registered: dict[tuple[str, str], Callable[..., Any]] = {}
_digests: dict[str, str] = {}  # see `code_digests`


def register(kind: str, name: str, build: Callable[..., Any]) -> None:
    """Register a function as a part of a run, in this process; a config may then have its name.

    A second registration of a name replaces the first.

    Args:
      kind: encoder, head, objective, optimizer, schedule, augmentation or source.
      name: letters, digits and underscores; not the name of a shipped part.
      build: function with the signature of the kind (docs/extending.md).

    Raises:
      UserError: the kind does not exist, or the name is taken or has other characters.
    """
    if kind not in SHIPPED:
        raise UserError(f"There is no kind of part {kind!r}. Use one of {', '.join(SHIPPED)}.")
    if name in SHIPPED[kind] or not name.isidentifier():
        raise UserError(
            f"{name!r} cannot be registered: the name must have letters, digits and underscores, and must "
            f"not be one of {', '.join(SHIPPED[kind])}."
        )
    _registered[kind, name] = build


def register_encoder(name: str, build: Callable[..., Any]) -> None:
    """Register an encoder: `register("encoder", name, build)`; like `register`."""
    register("encoder", name, build)


def is_own(kind: str, name: str) -> bool:
    """Return whether a name is that of a registered part, or of a function."""
    return (kind, name) in _registered or bool(_FUNCTION.fullmatch(name))


def problem(kind: str, name: str, others: Sequence[str] = ()) -> str | None:
    """Return why a name is no part of this kind, with the remedy; None if it may be one."""
    known = [*SHIPPED[kind], *others, *(other for of, other in _registered if of == kind)]
    if name in known or is_own(kind, name):
        return None
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"is {name!r}, but must be one of {', '.join(known) or 'the registered names'}, MODULE:FUNCTION or "
        f"FILE.py:FUNCTION.{hint} A name of your own must be registered in this process: pass --import "
        "MODULE, or call barlow_jax.register first."
    )


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the function of a part that is not shipped.

    Raises:
      UserError: the name is not registered, or its module or file cannot be imported.
    """
    if reason := problem(kind, name):
        raise UserError(f"The {kind} {reason}")
    return _registered.get((kind, name)) or _load(name)


@functools.cache
def _load(name: str) -> Callable[..., Any]:
    source, _, function = name.rpartition(":")
    names = import_source(source, name)
    if not callable(names.get(function)):
        raise UserError(f"{name}: {source} has no function {function!r}.")
    return names[function]


def import_source(source: str, name: str = "") -> dict[str, Any]:
    """Run a .py file, or import a module, also from the working directory; return its names.

    Messages have `name`, by default the source.

    Raises:
      UserError: it is missing, or raises.
    """
    folder = os.path.join(os.getcwd(), "")  # the program barlow-jax does not search it
    sys.path.append(folder)
    try:
        if source.endswith(".py"):
            names = call(name or source, runpy.run_path, source)
        else:
            names = vars(call(name or source, importlib.import_module, source))
    finally:
        sys.path.remove(folder)
    if file := names.get("__file__"):
        _digests[source] = checksums.sha256(Path(file))
    return names


def code_digests() -> dict[str, str]:
    """Return the SHA-256 of each file of a user's code that this process has run, by module or path."""
    return dict(_digests)


def call(name: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a user's function.

    Raises:
      UserError: it raises anything; the message has the line of the user's file.
    """
    try:
        return function(*arguments, **keywords)
    except UserError:
        raise
    except Exception as error:
        source = name.rpartition(":")[0] or name
        file = getattr(sys.modules.get(source), "__file__", source)
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        line = f", line {lines[-1]}" if lines else ""
        message = f"{name}{line}: {type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, ImportError):
            message += ". Modules are found on PYTHONPATH and in the working directory."
        raise UserError(message) from error
