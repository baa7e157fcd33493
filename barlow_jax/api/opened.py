"""Arguments that the functions share: a run or its workdir, feature source and checkpoint."""

from collections.abc import Sequence
from typing import Any, Literal

from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders, preflight
from barlow_jax.io import files, paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.papers.scores import FEATURE_SOURCES, PRETRAINED, Evaluation, parse_evaluations
from barlow_jax.workdir import results as result_files, saved_run

FeatureSource = Literal["pretrained", "untrained", "pixels"]


def path_of(workdir: PathLike) -> Path:
    """Return the path of a workdir, which may be new."""
    text = paths.text(workdir)
    if problems := preflight.workdir_problems(text):
        raise UserError.from_problems(problems)
    return Path(text)


def read_config(workdir: Path) -> Config:
    """Return the config of the run in a workdir."""
    saved = saved_run.saved_config(workdir)
    if saved is None:
        raise UserError(f"{workdir} holds no run (config.json is missing). Pass the workdir of a run.")
    config, problems = overrides.from_tree(saved)
    if problems:
        raise UserError.from_problems(problems)
    return config


def locate(run: PathLike) -> tuple[Path, Config]:
    """Return the workdir and the config of a run; that of a `Run` may have overrides."""
    workdir, config = path_of(run), getattr(run, "config", None)
    return workdir, read_config(workdir) if config is None else config


def open_checked(
    run: PathLike,
    feature_source: str,
    checkpoint: str | int,
    splits: Sequence[str] = ("train_split", "eval_split"),
) -> tuple[Path, Config, Path]:
    """Check the arguments of an evaluation, and the config against data and devices.

    Returns:
      The workdir, the config, and the path of the encoder: the workdir, or one of its checkpoints.
    """
    problems = []
    if feature_source not in FEATURE_SOURCES:
        problems.append(f"feature_source is {feature_source!r}. Choose from {', '.join(FEATURE_SOURCES)}.")
    if checkpoint not in ("newest", "best") and not str(checkpoint).isdecimal():
        problems.append(f"checkpoint is {checkpoint!r}, but must be newest, best or a step.")
    if problems:
        raise UserError.from_problems(problems)
    workdir, config = locate(run)
    config = preflight.check(config, splits=splits)
    encoder = encoders.checkpoint_path(workdir, str(checkpoint), config.monitor.select_by)
    return workdir, config, encoder


def publish(workdir: Path, results: dict[str, Any], *name: str) -> list[Evaluation]:
    """Write the results to `results/` of the workdir, where the report reads them; return the evaluations."""
    file = "-".join(part for part in name if part not in ("", PRETRAINED))
    files.write_json(result_files.results_file(workdir, file, results), results)
    return parse_evaluations(results)
