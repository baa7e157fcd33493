"""One of several runs that are trained and judged one after the other: what is finished is read, the rest goes on."""

import argparse
from collections.abc import Callable
import pathlib
from typing import Any

import jax

from barlow_jax.commands import pretrain
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import files
from barlow_jax.workdir import saved_run


def measured(
    case: Config, place: pathlib.Path, name: str, judge: Callable[[Experiment, pathlib.Path], dict[str, Any]]
) -> dict[str, Any]:
    """Results of a run, which is trained as far as it is not yet.

    Args:
      case: its config.
      place: its workdir.
      name: of the program; `<place>/results/<name>.json` holds the results once they are there.
      judge: measures the trained run.

    Raises:
      UserError: another run is there.
    """
    refuse_another(case, place)

    def measure() -> dict[str, Any]:
        trained = pretrain.run(case, place, argparse.Namespace())
        return {"loss": trained.get("loss"), **judge(Experiment.of(case), place)}

    return stored(place, name, measure)


def refuse_another(case: Config, place: pathlib.Path) -> None:
    """Raises UserError where the run at `place` has another config."""
    if problems := saved_run.differences(place, case):
        raise UserError(problems[0])


def stored(place: pathlib.Path, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `<place>/results/<name>.json` holds, or else is measured and put there."""
    file = place / "results" / f"{name}.json"
    if file.is_file():
        return files.read_json(file)
    results = measure()
    if jax.process_index() == 0:
        files.write_json(file, results)
    return results
