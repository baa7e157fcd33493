"""Which code, on which devices, made a run: `provenance.json` of a workdir.

A start adds itself to the newest entry where nothing but the time is new, and is a new entry otherwise: a run that
was restarted a thousand times on one machine has one.
"""

from collections.abc import Mapping, Sequence
import datetime
from importlib import metadata
import json
import pathlib
import platform
import subprocess
from typing import Any

from barlow_jax.io import files
from barlow_jax.version import __version__

FILE = "provenance.json"
_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
    "ml-collections",
    "clu",
    "numpy",
    "pillow",
    "libtpu",
)


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The entries, oldest first; none where the file is missing, or is not what was written.

    Each has `version` and `commit` of this package (None where it is not in a repository; "+" where files were
    changed), `python`, `platform`, `packages` (version by name), `devices` (`kind`, `count`, `processes`), `command`,
    and of the starts that were alike `starts`, how many, `first` and `last`, in UTC.
    """
    try:
        entries = json.loads((workdir / FILE).read_text())
        return [entry for entry in entries if {"starts", "first", "last", "packages"} <= entry.keys()]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def record(workdir: pathlib.Path, command: Sequence[str], devices: Mapping[str, Any]) -> None:
    """Adds a start.

    Args:
      workdir: of the run.
      command: the words after `python -m barlow_jax`.
      devices: `kind`, `count` of all processes, `processes`.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entries, this = read(workdir), here(command, devices)
    alike = entries and {name: entries[-1].get(name) for name in this} == this
    if not alike:
        entries.append({**this, "starts": 0, "first": now})
    entries[-1] |= {"starts": entries[-1]["starts"] + 1, "last": now}
    files.write_json(workdir / FILE, entries)


def here(command: Sequence[str], devices: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says beside its times."""
    return {
        "version": __version__,
        "commit": _commit(pathlib.Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "devices": dict(devices),
        "command": list(command),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: pathlib.Path) -> str | None:
    """Of the repository that this package is in; one around an environment that it is installed in is another's."""
    if not (folder.parent / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # no git, or not its owner
        return None


def _git(folder: pathlib.Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
