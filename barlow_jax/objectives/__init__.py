"""One file a method; `make` turns a config into the Objective that the step calls."""

from barlow_jax import config as config_lib
from barlow_jax.objectives import barlow_twins, classification
from barlow_jax.types import Objective, Reshard

_MAKERS = {"barlow_twins": barlow_twins.make, "classification": classification.make}


def make(config: config_lib.Objective, reshard: Reshard | None = None) -> Objective:
    """The method of a config; `reshard` is how the mesh, if there is one, lays embeddings out by features."""
    return _MAKERS[config.name](config, reshard)
