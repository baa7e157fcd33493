"""Reading a workdir: its saved config and status, its checkpoints, and whether a run may resume."""

import dataclasses
from typing import Any

from barlow_jax.config import overrides, records
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import files, paths
from barlow_jax.io.paths import Path

CHECKPOINTS = "checkpoints"  # folder of the checkpoints, one folder per step
COMMITTED = "commit_success.txt"  # the object that Orbax writes last, in the folder of a step in a bucket
STATUS = "status.json"  # written by `workdir.status`
FILES = (STATUS, "config.json")  # every run has at least one of them
# Keys that may change when a run resumes: they affect what is monitored, kept and measured, not what is
# learned.
MAY_CHANGE = (
    "train.max_steps",
    "train.log_every_steps",
    "train.max_skipped_steps",
    "train.stop_when_saturated",
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
# Keys that may change when a run is extended: the state and the network stay as they are.
_MAY_EXTEND = (
    "train.num_epochs",
    "train.batch_size",
    "train.microbatches",
    "optim.learning_rate",
    "optim.bias_learning_rate",
    "optim.momentum",
    "optim.weight_decay",
    "optim.trust_coefficient",
    "optim.warmup_epochs",
    "optim.final_scale",
)


def is_run(workdir: str | Path) -> bool:
    """Return whether a folder is the workdir of a run."""
    return any((Path(workdir) / name).is_file() for name in FILES)


def saved_config(workdir: str | Path) -> dict[str, Any] | None:
    """Return the nested dict in `<workdir>/config.json`; None if the file is missing."""
    path = Path(workdir) / "config.json"
    if not path.is_file():
        return None
    try:
        saved = files.read_json(path)
        if not isinstance(saved, dict):
            raise ValueError(f"expected groups of keys, got {type(saved).__name__}")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it, or use another workdir") from None
    return saved


def saved_status(workdir: str | Path) -> dict[str, Any] | None:
    """Return the content of `<workdir>/status.json`; None if the file is missing or damaged."""
    try:
        status = files.read_json(Path(workdir) / STATUS)
        return status if {"state", "step", "marks", "updated_unix"} <= status.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def checkpoint_steps(workdir: str | Path) -> list[int]:
    """Return the steps of the complete checkpoints in order; none if the folder cannot be read."""
    folder = Path(workdir) / CHECKPOINTS
    try:
        if paths.is_url(folder):
            found = [path.parent for path in folder.glob(f"*/{COMMITTED}")]
        else:
            found = [*folder.glob("*")]
        return sorted(int(path.name) for path in found if path.name.isdigit())
    except OSError:
        return []


def resume_problems(workdir: str | Path, resume: str) -> list[str]:
    """Return the reasons why `--resume` does not allow a run to start on this workdir."""
    steps = checkpoint_steps(workdir)
    if resume == "never" and steps:
        fix = "use another workdir, or --resume=auto to resume"
        return [f"--resume=never: {workdir} has checkpoints up to step {steps[-1]}; {fix}"]
    if resume == "must" and not steps:
        fix = "check its path and that it is mounted, or use --resume=auto"
        return [f"--resume=must: {workdir} has no checkpoint; {fix}"]
    return []


def with_defaults(saved: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a saved config, completed with the defaults of keys added since, and the problems with it."""
    config, problems = overrides.from_tree(saved)
    return dataclasses.asdict(config), problems


def config_changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    """Return `[old, new]` of each key that affects what is learned and differs between two config trees."""
    before, after = (records.flatten(with_defaults(tree)[0]) for tree in (old, new))
    return {
        key: [before.get(key), after.get(key)]
        for key in before | after
        if not key.startswith(MAY_CHANGE) and before.get(key) != after.get(key)
    }


def changes(workdir: str | Path, config: Config) -> dict[str, list[Any]]:
    """Return `config_changes` from the saved config of a run to another config; {} if none is saved."""
    saved = saved_config(workdir)
    return {} if saved is None else config_changes(saved, overrides.to_config_dict(config).to_dict())


def differences(workdir: str | Path, config: Config, *, extend: bool = False) -> list[str]:
    """Return one sentence for each key whose value differs from the saved run's and may not change.

    With `extend`, the keys that an extension may change are allowed if the run has a checkpoint.
    """
    different = changes(workdir, config)
    problems = [
        f"--workdir: {workdir} holds a run with config.{key} = {old}, but the new value is {new}; use "
        "another workdir or the same config"
        + ", or --extend to train on with the new value"
        * (key in _MAY_EXTEND)
        for key, (old, new) in different.items()
        if not (extend and key in _MAY_EXTEND)
    ]
    if extend and different and not checkpoint_steps(workdir):
        problems.append(f"--extend: {workdir} has no checkpoint to continue from; use another workdir")
    return problems
