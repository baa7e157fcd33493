"""Reading of a workdir's files for a report. No file is changed, so the run may still be training."""

import collections
from collections.abc import Mapping
import dataclasses
from typing import Any

from barlow_jax.config import records
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import jsonl, log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import by_data
from barlow_jax.reporting.schema import Run
from barlow_jax.workdir import provenance, results, saved_run

ABSENT = "absent"


def read_run(workdir: Path) -> Run:
    """Read a run's files. Missing files are left out; damaged files too, with a warning.

    Raises:
      UserError: the folder holds no run.
    """
    if not saved_run.is_run(workdir):
        raise UserError(
            f"--workdir: {workdir} holds no run (it has neither {' nor '.join(saved_run.FILES)}). "
            "Pass the folder given to `pretrain --workdir`."
        )
    config = _config(workdir)
    status = saved_run.saved_status(workdir)
    if status is None:
        _warn_if_damaged(workdir / saved_run.STATUS)
    else:
        del status["marks"]
    entries = provenance.read(workdir)
    if not entries:
        _warn_if_damaged(workdir / provenance.FILE)
    measured, damaged = results.read(workdir)
    for path in damaged:
        _warn_if_damaged(path)
    own, *others = by_data(measured)
    return Run(
        name=workdir.resolve().name,
        workdir=workdir,
        config=config,
        changed=changed(config) if config else {},
        provenance=entries,
        status=status,
        metrics=_metrics(workdir / "metrics.jsonl"),
        results=own,
        other_results=others,
    )


def changed(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return `(default, value)` of each key that differs from the defaults; ABSENT stands for a missing key.

    A group that is missing as a whole, such as a view, has one entry under its name: `("12 keys", ABSENT)`.
    """
    defaults = records.flatten(dataclasses.asdict(Config()))
    pairs = {key: (defaults.get(key, ABSENT), value) for key, value in config.items()}
    different = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    missing: collections.Counter[str] = collections.Counter()
    for key in defaults.keys() - config.keys():
        parts = key.split(".")
        heads = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        group = next(head for head in heads if not any(k == head or k.startswith(f"{head}.") for k in config))
        missing[group] += 1
    groups = {group: (f"{count} keys", ABSENT) for group, count in missing.items()}
    return dict(sorted((different | groups).items()))


def _config(workdir: Path) -> dict[str, Any]:
    """Return the complete config by flat key; empty if it cannot be read."""
    try:
        saved = saved_run.saved_config(workdir)
    except (UserError, OSError) as error:
        log.warning(str(error))
        return {}
    if saved is None:
        return {}
    tree, problems = saved_run.with_defaults(saved)
    for problem in problems:
        log.warning(f"{workdir / 'config.json'}: {problem}. The default is used instead.")
    return records.flatten(tree)


def _metrics(path: Path) -> list[dict[str, float | None]]:
    try:
        rows, damaged = jsonl.read(path)
    except OSError as error:
        log.warning(f"{path} cannot be read ({error.strerror or error}).")
        return []
    valid = [row for row in rows if isinstance(row.get("step"), int)]
    if count := damaged + len(rows) - len(valid):
        log.warning(f"{path}: {count} {'line' if count == 1 else 'lines'} left out, incomplete or damaged.")
    return valid


def _warn_if_damaged(path: Path) -> None:
    if path.exists():
        log.warning(f"{path} is damaged and left out of the report.")
