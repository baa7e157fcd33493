"""Files that are whole or not there."""

from collections.abc import Callable, Iterator
import contextlib
import errno
import json
import os
import pathlib
import shutil
from typing import Any, BinaryIO


def write(path: pathlib.Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Writes through a neighbour and a rename: a reader, or a crash, never sees half of it.

    Args:
      path: of the file; its folder is made where it is not there.
      fill: writes all of it into the open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            fill(file)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    write(path, lambda file: file.write(content))


def write_text(path: pathlib.Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: pathlib.Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder to fill, which gets its name at the end; after an exception there is none.

    Raises:
      FileExistsError: the path is there, and is no empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed and had the same number
    draft.mkdir()
    try:
        yield draft
        os.replace(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sweep(folder: pathlib.Path, name: str = "*") -> None:
    """Removes what a killed process left of files of this name. Whoever writes them must not run meanwhile."""
    for draft in folder.glob(f".{name}.*"):
        if draft.name.rpartition(".")[2].isdecimal():
            draft.unlink()


def check_room(folder: pathlib.Path, num_bytes: int) -> None:
    """Makes the folder where it is not there.

    Raises:
      OSError: nothing can be written into it, or its disk has less than `num_bytes` left.
    """
    write_text(folder / ".probe", "")
    (folder / ".probe").unlink(missing_ok=True)
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: {free / 1e6:.0f} MB of {num_bytes / 1e6:.0f} MB",
            str(folder),
        )
