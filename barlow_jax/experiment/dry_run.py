"""Plan of a pretraining run, from shapes alone: what it trains, for how long, in how much memory and disk."""

from typing import Any

import jax

from barlow_jax.checkpoints.restore import abstract_state
from barlow_jax.config import overrides, records
from barlow_jax.config.schema import Config
from barlow_jax.data import catalog, collection
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.optim import optimizers
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run, segments


def dry_run(
    config: Config, num_images: int | None, workdir: Path | None, *, compiles: bool, verbose: bool
) -> dict[str, Any]:
    """Log the plan of a run; return the resolved config and the plan.

    The number of training images is None if the data set is not prepared yet; the workdir may hold a run.
    With `compiles`, the memory of the compiled train step is logged too; with `verbose`, the resolved config
    and the table of parameters.
    """
    experiment = Experiment.from_config(config)
    sampler = _sampler(experiment, num_images, workdir)
    plan, state = _describe(experiment, sampler, num_images)
    log.info(headline(plan))
    if config.data.name == "images":
        collection.open_collection(config.data, config.data.train_split)  # logs what is read and left out
    log.info("\n".join(_line(key, value) for key, value in plan.items() if value is not None))
    if compiles:
        log.info("compiling the train step to measure its memory")
        lowered, _ = lowering.lower(experiment, sampler, "step")
        memory = lowering.memory(lowered.compile(experiment.fast_compilation))
        plan["step_memory_bytes"] = memory
        log.info(_line("step_memory_bytes", memory) + " per device")
    resolved = overrides.to_config_dict(config).to_dict()
    plan["changed"] = changes = saved_run.changes(workdir, config) if workdir else {}
    for key, (old, new) in changes.items():
        log.info(f"changed: config.{key} from {old} to {new}")
    if verbose:
        from clu import parameter_overview

        log.info("\n".join(f"config.{key} = {value}" for key, value in records.flatten(resolved).items()))
        log.info(parameter_overview.get_parameter_overview(state.params, include_stats=False))
    return {"config": resolved, "plan": plan}


def describe(config: Config, num_images: int | None, workdir: Path | None = None) -> dict[str, Any]:
    """Return the plan of a run; nothing is computed on the devices."""
    experiment = Experiment.from_config(config)
    return _describe(experiment, _sampler(experiment, num_images, workdir), num_images)[0]


def _sampler(experiment: Experiment, num_images: int | None, workdir: Path | None) -> EpochSampler:
    """Return the sampler of the segment that starts or resumes, for one batch if the size is not known."""
    num_rows = num_images or experiment.config.train.batch_size
    segment = workdir and segments.current(workdir, experiment.config, num_rows)
    return experiment.sampler(num_rows, segment)


def _describe(
    experiment: Experiment, sampler: EpochSampler, num_images: int | None
) -> tuple[dict[str, Any], TrainState]:
    """Return the plan of a run, and the shapes of its state."""
    config, state = experiment.config, abstract_state(experiment.init(sampler))
    rates = optimizers.learning_rates(config, sampler.steps_per_epoch)
    warmup_steps = round(config.optim.warmup_epochs * sampler.steps_per_epoch)
    save_steps = max(1, round(config.checkpoint.every_epochs * sampler.steps_per_epoch))
    unknown = None if num_images else "known once the data set is prepared"
    plan = {
        "data": config.data.name,
        "images": unknown or num_images,
        "classes": catalog.NUM_CLASSES.get(config.data.name),
        "network": config.network.encoder,
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(part)) for name, part in state.params.items()
        },
        "steps": unknown or experiment.num_steps(sampler),
        "steps_per_epoch": unknown or sampler.steps_per_epoch,
        "batch_size": sampler.batch_size,
        "devices": jax.device_count(),
        "device_kind": jax.devices()[0].device_kind,
        "batch_size_per_device": sampler.batch_size // jax.device_count(),
        "microbatches": config.train.microbatches,
        "projector": experiment.layout.projector,
        "peak_learning_rates": {name: float(rate(warmup_steps)) for name, rate in rates.items()},
        "checkpoint_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.nonempty_fields())),
        "checkpoint_every_steps": None if config.checkpoint.every_minutes else unknown or save_steps,
        "checkpoint_minutes": config.checkpoint.every_minutes,
        "checkpoints_kept": config.checkpoint.keep_newest,
    }
    return plan, state


def headline(plan: dict[str, Any]) -> str:
    """Return one line on the data, the network, the steps and the devices of a plan."""
    images = f"{plan['images']} images" if isinstance(plan["images"], int) else "not prepared yet"
    classes = f" of {plan['classes']} classes" if plan["classes"] else ""
    sizes = " + ".join(f"{name} {size:,}" for name, size in plan["parameters"].items())
    steps = f"{plan['steps']} steps" if isinstance(plan["steps"], int) else "steps"
    return (
        f"{plan['data']}: {images}{classes}; {plan['network']}: {sizes} parameters; {steps} of "
        f"{plan['batch_size']} images on {plan['devices']} x {plan['device_kind']}"
    )


def _line(key: str, value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(
            f"{name} {number:,.6g}" if isinstance(number, float) else f"{name} {number:,}"
            for name, number in value.items()
        )
    if key.endswith("_bytes"):
        key, value = key.removesuffix("_bytes"), f"{value / 1e6:,.1f} MB"
    return f"{key.replace('_', ' '):<24}{value}"
