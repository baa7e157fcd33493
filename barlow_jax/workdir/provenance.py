"""Provenance of a run, `provenance.json`: code, packages, devices and command of each start.

A start that differs from the previous one only in time is counted in the same entry, so that a run that was
restarted a thousand times on one machine has one entry.
"""

from collections.abc import Mapping, Sequence
import datetime
from importlib import metadata
import pathlib
import platform
import subprocess
from typing import Any

from barlow_jax.config import parts
from barlow_jax.io import files, log
from barlow_jax.version import __version__

FILE = "provenance.json"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow", "tensorflow-cpu")
_PACKAGES += ("tensorflow-datasets", "ml-collections", "clu", "numpy", "pillow", "libtpu")


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return the entries, oldest first; none if the file is missing or damaged.

    An entry has `version` and `commit` of this package (None outside a repository; with "+" if tracked files
    have changed), `python`, `platform`, `packages` (version by name), `devices` (`kind`, `count`,
    `processes`), `command`, the number of its equal starts, `starts`, with the times of the `first` and the
    `last` in UTC; in an extended run also `segment` (`step`, `epoch` and `changed` of the last extension). A
    run's entry has `data`: `images` and `digest` (`splits.Identity`) of each split that it reads; with parts
    of a user's own, `own_code`: `parts.code_digests`.
    """
    try:
        entries = files.read_json(workdir / FILE)
        return [entry for entry in entries if {"starts", "first", "last", "packages"} <= entry.keys()]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def record(
    workdir: pathlib.Path,
    command: Sequence[str],
    devices: Mapping[str, Any],
    segment: Mapping[str, Any] | None = None,
    data: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Record a start of the run, with the fields that `read` describes; warn if a user's code has changed.

    The segment is what `segments.record` returns; `data` is `splits.Identity` as a dict, by split.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entries, current = read(workdir), describe(command, devices)
    if segment:
        current["segment"] = dict(segment)
    if data:
        current["data"] = dict(data)
    old, new = (entry.get("own_code", {}) for entry in (entries[-1] if entries else {}, current))
    if changed := [name for name in old.keys() & new.keys() if old[name] != new[name]]:
        log.warning(f"{', '.join(sorted(changed))}: the code has changed since the previous start")
    if not entries or {name: entries[-1].get(name) for name in current} != current:
        entries.append({**current, "starts": 0, "first": now})
    entries[-1] |= {"starts": entries[-1]["starts"] + 1, "last": now}
    files.write_json(workdir / FILE, entries)


def recorded_data(workdir: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return `data` of the last entry that has it."""
    return next((entry["data"] for entry in reversed(read(workdir)) if "data" in entry), {})


def data_changes(workdir: pathlib.Path, data: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return `[recorded, new]` of the splits whose examples are not those of the last start."""
    recorded = recorded_data(workdir)
    return {
        f"split {name}": [f"{i['images']} images (digest {i['digest'][:8]})" for i in (recorded[name], new)]
        for name, new in data.items()
        if name in recorded and dict(new) != recorded[name]
    }


def extensions(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a phrase for each extension of a run: its step, and the old and the new value of each key."""
    by_step = {e["segment"]["step"]: e["segment"]["changed"] for e in entries if "segment" in e}
    return [
        f"from step {step}: " + ", ".join(f"{key} {old} to {new}" for key, (old, new) in changed.items())
        for step, changed in by_step.items()
    ]


def describe(command: Sequence[str], devices: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry without its number of starts and their times."""
    own_code = parts.code_digests()
    return _code() | {
        **({"own_code": own_code} if own_code else {}),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "devices": dict(devices),
        "command": list(command),
    }


def stamp() -> dict[str, str | None]:
    """Return date (UTC), version and commit of a result."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")} | _code()


def _code() -> dict[str, str | None]:
    return {"version": __version__, "commit": _commit(pathlib.Path(__file__).parents[1])}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: pathlib.Path) -> str | None:
    """Commit of the repository that contains this package.

    A repository that merely encloses the virtual environment is ignored.
    """
    if not (folder.parent / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # git is missing, or refuses another user's repository
        return None


def _git(folder: pathlib.Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
