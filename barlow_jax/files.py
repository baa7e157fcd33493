"""Files that are whole or not there."""

import json
import os
import pathlib
from typing import Any


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes through a neighbour and a rename: a reader, or a crash, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def sweep(folder: pathlib.Path, name: str = "*") -> None:
    """Removes what a killed process left of files of this name. Whoever writes them must not run meanwhile."""
    for draft in folder.glob(f".{name}.*"):
        if draft.name.rpartition(".")[2].isdecimal():
            draft.unlink()
