"""One file a method; `make` turns a config into the Objective that the step calls."""

from barlow_jax import config as config_lib
from barlow_jax.objectives import barlow_twins
from barlow_jax.types import Objective

_MAKERS = {"barlow_twins": barlow_twins.make}


def make(config: config_lib.Objective) -> Objective:
    return _MAKERS[config.name](config)
