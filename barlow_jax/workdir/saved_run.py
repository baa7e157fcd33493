"""The workdir of a run: the config that it was started with, and what may not change on it."""

import json
import pathlib
from typing import Any

from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError

CHECKPOINTS = "checkpoints"  # the folder of a workdir that holds them, one folder a step
STATUS = "status.json"  # `running.status` writes it
FILES = (STATUS, "config.json")  # one of which every run has
# Keys that may change while a run goes on: they change what is watched, kept and measured, not what
# is learned.
_FREE = (
    "train.max_steps",
    "train.log_every_steps",
    "train.max_skipped_steps",
    "train.compilation_cache",
    "checkpoint.",
    "monitor.",
    "probe.",
    "knn.",
    "finetune.",
    "transfer.",
    "eval_batch_size",
    "distributed.",
    "data.threads",
    "data.prefetch",
    "data.data_dir",
    "data.max_decode_failures",
    "data.cache",
    "mesh.",
    "network.remat",
)


def is_run(workdir: str | pathlib.Path) -> bool:
    """Whether the folder is the workdir of a run."""
    return any((pathlib.Path(workdir) / name).is_file() for name in FILES)


def saved_config(workdir: str | pathlib.Path) -> dict[str, Any] | None:
    """The nested dict in `<workdir>/config.json`; None where there is none."""
    path = pathlib.Path(workdir) / "config.json"
    if not path.is_file():
        return None
    try:
        saved = json.loads(path.read_text())
        if not isinstance(saved, dict):
            raise ValueError(f"expected groups of keys, got {type(saved).__name__}")
    except ValueError as error:
        raise UserError(f"{path} is not what `pretrain` wrote there ({error}); use another workdir") from None
    return saved


def saved_status(workdir: str | pathlib.Path) -> dict[str, Any] | None:
    """What `<workdir>/status.json` says; None where it is missing, or is not what was written."""
    try:
        figures = json.loads((pathlib.Path(workdir) / STATUS).read_text())
        return figures if {"state", "step", "marks", "updated_unix"} <= figures.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def checkpoint_steps(workdir: str | pathlib.Path) -> list[int]:
    """Steps of the checkpoints that are there whole, in order; none where the folder cannot be read."""
    folder = pathlib.Path(workdir) / CHECKPOINTS
    try:
        return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
    except OSError:
        return []


def resume_problems(workdir: str | pathlib.Path, resume: str) -> list[str]:
    """Why `--resume` does not let a run start on this workdir."""
    steps = checkpoint_steps(workdir)
    if resume == "never" and steps:
        return [
            f"--resume=never: {workdir} has checkpoints up to step {steps[-1]}; use another workdir, or "
            "--resume=auto to go on"
        ]
    if resume == "must" and not steps:
        return [
            f"--resume=must: {workdir} has no checkpoint; see that it is the right one and mounted, or use --resume=auto"
        ]
    return []


def complete(saved: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A run's config with the defaults of the keys that are younger than it; and what is wrong with it."""
    config, problems = overrides.from_tree(saved)
    return overrides.to_config_dict(config).to_dict(), problems


def differences(workdir: str | pathlib.Path, config: Config) -> list[str]:
    """Keys that the workdir's run has otherwise, and that would make it another run; one sentence each."""
    saved = saved_config(workdir)
    if saved is None:
        return []
    trees = complete(saved)[0], overrides.to_config_dict(config).to_dict()
    then, now = map(overrides.flatten, trees)
    return [
        f"--workdir: {workdir} holds a run with config.{key} = {then.get(key)}, this one has {value}; "
        "use another workdir or the same config"
        for key, value in now.items()
        if not key.startswith(_FREE) and then.get(key) != value
    ]
