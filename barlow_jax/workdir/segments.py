"""Segments of an extended run, `segments.json`: the step from which each config applies, and its changes.

A run that was never extended has no such file. The list has one entry per segment, oldest first: the fields
of `sampler.Segment`; `config`, complete; `changed`, [old, new] by key or split; `images`, the number of
training images; `command`; and `started`, in UTC.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import datetime
from typing import Any

from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.data.sampler import EpochSampler, Segment
from barlow_jax.errors import UserError
from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.workdir import provenance, saved_run

FILE = "segments.json"
_FIELDS = tuple(field.name for field in dataclasses.fields(Segment))
_KEYS = {*_FIELDS, "config", "changed"}


def read(workdir: Path) -> list[dict[str, Any]]:
    """Return the segments; none if the run was never extended.

    Raises:
      UserError: the file is damaged.
    """
    path = workdir / FILE
    if not path.is_file():
        return []
    try:
        entries = files.read_json(path)
        if not isinstance(entries, list) or not all(entry.keys() >= _KEYS for entry in entries):
            raise ValueError("an entry lacks a key")
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}). Restore it, or use another workdir.") from None
    # An extension killed before it wrote config.json has not begun.
    saved = saved_run.saved_config(workdir)
    while saved and entries and saved_run.config_changes(entries[-1]["config"], saved):
        entries.pop()
    return entries


def current(
    workdir: Path, config: Config, num_images: int, data_changes: Mapping[str, Any] | None = None
) -> Segment:
    """Return the segment that a start with this config resumes, or begins at the newest checkpoint.

    A segment begins if the config differs from the saved one, or if there are `provenance.data_changes`.
    """
    entries, step = read(workdir), max(saved_run.checkpoint_steps(workdir), default=None)
    if step is None or not (saved_run.changes(workdir, config) or data_changes):
        return _segment(entries)
    entries = [entry for entry in entries if entry["step"] <= step]
    saved = entries[-1] if entries else _first(workdir)
    batch_size = saved["config"]["train"]["batch_size"]
    sampler = EpochSampler(config.seed, saved.get("images") or num_images, batch_size, _segment(entries))
    return sampler.next_segment(step)


def record(
    workdir: Path,
    segment: Segment,
    config: Config,
    command: Sequence[str],
    num_images: int | None = None,
    data_changes: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Record the segment if it begins, which it does if config or data are not those of the workdir.

    The workdir's config.json still has the config before. `command` are the words after
    `python -m barlow_jax`, `data_changes` those of `provenance`.

    Returns:
      `step`, `epoch` and `changed` of the segment; None if the run was never extended.
    """
    entries = read(workdir)
    if saved_run.changes(workdir, config) or data_changes:
        entries = [entry for entry in entries if entry["step"] < segment.step] or [_first(workdir)]
        new = overrides.to_config_dict(config).to_dict()
        entry = dataclasses.asdict(segment) | {
            "config": new,
            "changed": saved_run.config_changes(entries[-1]["config"], new) | dict(data_changes or {}),
            "images": num_images,
            "command": list(command),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        entries.append(entry)
        files.write_json(workdir / FILE, entries)
    return {name: entries[-1][name] for name in ("step", "epoch", "changed")} if entries else None


def _first(workdir: Path) -> dict[str, Any]:
    """Return the entry of the segment before the first extension."""
    config = saved_run.saved_config(workdir)
    data = provenance.recorded_data(workdir).get(config["data"]["train_split"], {})
    return dataclasses.asdict(Segment()) | {"config": config, "changed": {}, "images": data.get("images")}


def _segment(entries: Sequence[dict[str, Any]]) -> Segment:
    return Segment(**{name: entries[-1][name] for name in _FIELDS}) if entries else Segment()
