"""Objective registry: each method is a file of this package whose `make` builds its Objective."""

import importlib

from barlow_jax.config import schema as config_lib
from barlow_jax.types import Objective, RunInfo


def make_objective(config: config_lib.Objective, run_info: RunInfo = RunInfo()) -> Objective:
    """Build the objective that a config names.

    Raises:
      UserError: If the method's settings do not fit the run.
    """
    return importlib.import_module(f"barlow_jax.objectives.{config.name}").make(config, run_info)
