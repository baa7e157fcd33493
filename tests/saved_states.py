"""The state in a checkpoint of a run, for tests that compare runs."""

import json

import jax

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.experiment.experiment import Experiment


def read_state(workdir, step, num_images=1437):
    """Return the state of a step on the host; the run was trained on this number of images."""
    config, _ = overrides.from_tree(json.loads((workdir / "config.json").read_text()))
    experiment = Experiment.from_config(config)
    abstract = abstract_state(experiment.init(experiment.sampler(num_images)))
    with open_checkpoints(workdir) as checkpoints:
        return jax.device_get(checkpoints.restore(abstract, experiment.layout, step))
