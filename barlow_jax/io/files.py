"""Text and JSON files, and atomic writes: a file or folder exists completely or not at all."""

from collections.abc import Callable, Iterator
import contextlib
import errno
import io
import json
import os
import shutil
import tempfile
from typing import Any, BinaryIO

from barlow_jax.io import paths
from barlow_jax.io.paths import Path


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
      OSError: the file is missing or cannot be read.
      ValueError: the file is not JSON.
    """
    return json.loads(path.read_text())


def write(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write a temporary file and rename it, so that neither a reader nor a crash leaves half a file.

    `fill` writes the whole content into the open file. Missing parent folders are created. In a bucket, the
    file is one object, which appears when it is complete.
    """
    if paths.is_url(path):
        with io.BytesIO() as content:
            fill(content)
            path.fs.pipe_file(path.path, content.getvalue())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            fill(file)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text atomically; a byte of a file name that is not UTF-8 becomes `\udce9`."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that is renamed to `path` at the end, and removed after an exception.

    For a bucket, it is a folder of this disk, whose files are copied at the end.

    Raises:
      FileExistsError: the path exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if paths.is_url(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            path.fs.put(os.path.join(folder, ""), os.path.join(path.path, ""), recursive=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # left by a killed process that had the same process id
    draft.mkdir()
    try:
        yield draft
        os.replace(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(folder: Path, name: str = "*") -> None:
    """Remove temporary files that a killed process left in a folder, by their final name or a glob pattern.

    No process may be writing such files meanwhile. A bucket has none.
    """
    if paths.is_url(folder):
        return
    for draft in folder.glob(f".{name}.*"):
        if draft.name.rpartition(".")[2].isdecimal():
            draft.unlink()


def check_free_space(folder: Path, num_bytes: int) -> None:
    """Check that a folder is writable and that its disk has enough space; create the folder if it is missing.

    Raises:
      OSError: the folder is not writable, or its disk has less than `num_bytes` left.
    """
    write_text(folder / ".probe", "")
    (folder / ".probe").unlink(missing_ok=True)
    if not paths.is_url(folder) and (free := shutil.disk_usage(folder).free) < num_bytes:
        message = f"{os.strerror(errno.ENOSPC)}: {free / 1e6:.0f} MB free, {num_bytes / 1e6:.0f} MB needed"
        raise OSError(errno.ENOSPC, message, str(folder))
