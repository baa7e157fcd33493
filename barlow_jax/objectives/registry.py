"""Objectives by name: a shipped method is a file of this package whose `make` builds its Objective."""

import importlib

from barlow_jax.config import parts, schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.types import Objective, RunInfo


def make_objective(config: config_lib.Objective, run_info: RunInfo = RunInfo()) -> Objective:
    """Build the objective that a config names.

    Raises:
      UserError: If the method's settings do not fit the run.
    """
    if config.name not in parts.SHIPPED["objective"]:
        objective = parts.call(config.name, parts.find("objective", config.name), config, run_info)
        if not isinstance(objective, Objective):
            raise UserError(f"{config.name} must return a barlow_jax.types.Objective, not {objective!r}.")
        return objective
    return importlib.import_module(f"barlow_jax.objectives.{config.name}").make(config, run_info)
