"""What the files of a workdir say, as facts; nothing is changed, so that a run which goes on can be read."""

import collections
from collections.abc import Mapping
import pathlib
import sys
from typing import Any

from barlow_jax.config import overrides
from barlow_jax.errors import UserError
from barlow_jax.io import files, jsonl
from barlow_jax.report.schema import Run
from barlow_jax.workdir import provenance, saved_run

ABSENT = "absent"


def read_run(workdir: pathlib.Path) -> Run:
    """A run's files. What is damaged is said on standard error and left out, as what is missing is.

    Raises:
      UserError: the folder holds no run.
    """
    if not saved_run.is_run(workdir):
        raise UserError(
            f"--workdir: {workdir} holds no run (there is neither {' nor '.join(saved_run.FILES)}); pass the folder that "
            "`pretrain --workdir` was given"
        )
    config = _config(workdir)
    status = saved_run.saved_status(workdir)
    if status is None:
        _say_damaged(workdir / saved_run.STATUS)
    else:
        del status["marks"]
    entries = provenance.read(workdir)
    if not entries:
        _say_damaged(workdir / provenance.FILE)
    return Run(
        name=workdir.resolve().name,
        workdir=workdir,
        config=config,
        changed=changed(config) if config else {},
        provenance=entries,
        status=status,
        metrics=_metrics(workdir / "metrics.jsonl"),
        results=_results(workdir / "results"),
    )


def changed(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What a flat config has otherwise than the defaults: `(default, here)` by key, ABSENT where there is no such key.

    Of a whole group that is missing, such as a view, the name stands for its keys: `("12 keys", ABSENT)`.
    """
    defaults = overrides.flatten(overrides.default_config().to_dict())
    pairs = {key: (defaults.get(key, ABSENT), value) for key, value in config.items()}
    there = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    gone: collections.Counter[str] = collections.Counter()
    for key in defaults.keys() - config.keys():
        parts = key.split(".")
        heads = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        group = next(head for head in heads if not any(k == head or k.startswith(f"{head}.") for k in config))
        gone[group] += 1
    missing = {group: (f"{count} keys", ABSENT) for group, count in gone.items()}
    return dict(sorted((there | missing).items()))


def _config(workdir: pathlib.Path) -> dict[str, Any]:
    """By flat key, whole; empty where it cannot be read."""
    try:
        saved = saved_run.saved_config(workdir)
    except (UserError, OSError) as error:
        _say(str(error))
        return {}
    if saved is None:
        return {}
    tree, problems = saved_run.with_defaults(saved)
    for problem in problems:
        _say(f"{workdir / 'config.json'}: {problem}; the default stands in its place")
    return overrides.flatten(tree)


def _metrics(path: pathlib.Path) -> list[dict[str, float | None]]:
    try:
        rows, damaged = jsonl.read(path)
    except OSError as error:
        _say(f"{path} cannot be read ({error.strerror or error})")
        return []
    numbered = [row for row in rows if isinstance(row.get("step"), int)]
    if damaged or len(numbered) < len(rows):
        count = damaged + len(rows) - len(numbered)
        _say(f"{path}: {count} {'line is' if count == 1 else 'lines are'} cut off or damaged, and left out")
    return numbered


def _results(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """By the program's name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = files.read_json(path)
        except (OSError, ValueError):
            result = None
        if isinstance(result, dict):
            found[path.stem] = result
        else:
            _say(f"{path} is not what a program wrote there, and is left out")
    return found


def _say_damaged(path: pathlib.Path) -> None:
    if path.exists():
        _say(f"{path} is not what was written there, and is left out")


def _say(words: str) -> None:
    print(f"warning: {words}", file=sys.stderr)
