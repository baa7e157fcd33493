"""Dry run of pretraining: the resolved config, the parameter table and the plan, from shapes alone."""

from typing import Any

import jax

from barlow_jax.checkpoints.restore import abstract_state
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.optim import optimizers


def dry_run(config: Config, num_images: int | None) -> dict[str, Any]:
    """Log the resolved config, the parameter table and the plan of a run; return config and plan.

    Args:
      config: resolved config.
      num_images: size of the training split; None if the data set is not prepared yet.
    """
    from clu import parameter_overview

    resolved = overrides.to_config_dict(config).to_dict()
    plan, params = describe(config, num_images)
    log.info("\n".join(f"config.{key} = {value}" for key, value in overrides.flatten(resolved).items()))
    log.info(parameter_overview.get_parameter_overview(params, include_stats=False))
    log.info("\n".join(f"{key}: {value}" for key, value in plan.items()))
    return {"config": resolved, "plan": plan}


def describe(config: Config, num_images: int | None) -> tuple[dict[str, Any], Any]:
    """Return the plan of a run and the shapes of its parameters; nothing is computed on the devices."""
    experiment = Experiment.of(config)
    sampler = experiment.sampler(num_images or config.train.batch_size)
    params = abstract_state(experiment.init(sampler)).params
    rates = optimizers.learning_rates(config, sampler.steps_per_epoch)
    warmup_steps = round(config.optim.warmup_epochs * sampler.steps_per_epoch)
    plan = {
        "images": num_images if num_images else "known once the data set is prepared",
        "steps_per_epoch": sampler.steps_per_epoch,
        "steps": experiment.num_steps(sampler),
        "batch_size": sampler.batch_size,
        "devices": jax.device_count(),
        "batch_size_per_device": sampler.batch_size // jax.device_count(),
        "microbatches": config.train.microbatches,
        "projector": experiment.layout.projector,
        "peak_learning_rates": {name: float(rate(warmup_steps)) for name, rate in rates.items()},
        "parameters": {name: sum(p.size for p in jax.tree.leaves(part)) for name, part in params.items()},
    }
    return plan, params
