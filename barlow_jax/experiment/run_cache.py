"""Cache of the results of several runs: what is finished is read, the rest is trained and evaluated."""

from collections.abc import Callable
import dataclasses
import json
import pathlib
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import evaluations
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.pretraining import pretrain
from barlow_jax.io import files, log
from barlow_jax.papers.scores import data_identity
from barlow_jax.workdir import saved_run


def train_and_evaluate(
    config: Config,
    workdir: pathlib.Path,
    name: str,
    evaluate: Callable[[Experiment, pathlib.Path], dict[str, Any]],
) -> dict[str, Any]:
    """Return the results of a run; train and evaluate it first as far as that has not been done.

    `WORKDIR/results/NAME.json` caches the results, NAME being that of the command.

    Raises:
      UserError: the workdir holds a run with another config.
    """
    check_config(config, workdir)

    def compute() -> dict[str, Any]:
        trained = pretrain(config, workdir)
        return {"loss": trained.get("loss"), **evaluate(Experiment.from_config(config), workdir)}

    return cached(workdir, name, compute, config)


def check_config(config: Config, workdir: pathlib.Path) -> None:
    """Raise UserError if the workdir holds a run with another config."""
    if problems := saved_run.differences(workdir, config):
        raise UserError(problems[0])


def cached(
    workdir: pathlib.Path, name: str, compute: Callable[[], dict[str, Any]], config: Config
) -> dict[str, Any]:
    """Read `WORKDIR/results/NAME.json`; compute and write it if it is missing, or has other data or settings.

    `compute` returns the results, with the entries "data" and "settings".
    """
    path = workdir / "results" / f"{name}.json"
    if path.is_file():
        results = files.read_json(path)
        commands = [key for key in ("probe", "knn") if key in results.get("settings", {})]
        current = json.loads(json.dumps(evaluations.settings(config, commands)))
        images = data_identity(dataclasses.asdict(config.data))
        if results.get("settings") == current and data_identity(results["data"]) == images:
            return results
        log.info(f"{path} is of other data or settings: evaluating again")
    results = compute()
    if jax.process_index() == 0:
        files.write_json(path, results)
    return results
