"""One file a method, found by its name; its `make` turns a config into the Objective that the step calls."""

import importlib

from barlow_jax.config import schema as config_lib
from barlow_jax.types import Objective, RunInfo


def make(config: config_lib.Objective, setup: RunInfo = RunInfo()) -> Objective:
    """The method that a config names.

    Raises:
      UserError: its settings do not go with the run.
    """
    return importlib.import_module(f"barlow_jax.objectives.{config.name}").make(config, setup)
