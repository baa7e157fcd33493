"""Validation of a whole config, given what is known about the devices and the data."""

from collections.abc import Iterator, Mapping
import dataclasses

from barlow_jax.config import records
from barlow_jax.config.schema import Config, Probe
from barlow_jax.config.validation.data import data_problems
from barlow_jax.config.validation.objective import objective_problems
from barlow_jax.config.validation.recipe import recipe_problems
from barlow_jax.config.validation.sizes import image_size_problems, mesh_problems


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about the machine and the data set; None or absent if unknown."""

    num_devices: int | None = None
    num_images: Mapping[str, int] = dataclasses.field(default_factory=dict)  # by split
    trains: bool = True  # False: batches of config.train.batch_size are never made


def validate(config: Config, facts: Facts) -> list[str]:
    """Return every problem of a config, one sentence each; empty if the run can start."""
    checks = (
        (problem for _, problem in records.bound_problems(config)),
        _schedule_problems(config),
        data_problems(config),
        _evaluation_problems(config),
        recipe_problems(config),
        objective_problems(config),
        image_size_problems(config),
        mesh_problems(config, facts.num_devices),
        _batch_problems(config, facts),
    )
    return [problem for check in checks for problem in check]


def _schedule_problems(config: Config) -> Iterator[str]:
    warmup, length = config.optim.warmup_epochs, config.train.num_epochs
    if warmup > length:
        yield f"config.optim.warmup_epochs is {warmup}, but config.train.num_epochs is only {length}."
    if config.train.stop_when_saturated and not config.monitor.every_epochs:
        problem = "config.train.stop_when_saturated is true, but config.monitor.every_epochs is 0"
        yield f"{problem}. Set it above 0."


def _evaluation_problems(config: Config) -> Iterator[str]:
    probes = {"probe": config.probe} | {
        f"transfer.{name}.probe": t.probe for name, t in config.transfer.items()
    }
    for key, probe in probes.items():
        yield from _probe_problems(f"config.{key}", probe)
    yield from _milestone_problems("config.finetune", config.finetune.milestones)


def _probe_problems(key: str, probe: Probe) -> Iterator[str]:
    yield from _milestone_problems(key, probe.milestones)
    if probe.nesterov and probe.momentum == 0:
        yield f"{key}.nesterov is true, but {key}.momentum is 0. Set a momentum above 0, or nesterov=false."
    if probe.solver == "lbfgs" and probe.augment:
        yield f"{key}.solver is lbfgs, which needs features that are computed once. Set {key}.augment=false."


def _milestone_problems(key: str, milestones: tuple[float, ...]) -> Iterator[str]:
    if list(milestones) != sorted(set(milestones)):
        yield f"{key}.milestones is {milestones}, but must be rising fractions of the epochs."


def _batch_problems(config: Config, facts: Facts) -> Iterator[str]:
    batch_size, microbatches = config.train.batch_size, max(1, config.train.microbatches)
    devices, data = facts.num_devices, config.data
    pieces = (devices or 1) * microbatches
    if microbatches > 1 and batch_size % pieces:
        yield (
            f"config.train.batch_size is {batch_size}, but must be divisible by {microbatches} microbatches "
            f"on {devices or 'any number of'} devices. Use {_next_multiple(batch_size, pieces)}."
        )
    elif microbatches > 1 and batch_size // microbatches < 2:
        yield (
            f"config.train.microbatches is {microbatches}, but batch statistics need 2 images or more per "
            f"microbatch. Use {batch_size // 2} or less."
        )
    sizes = {"train.batch_size": batch_size} if facts.trains else {}
    for key, size in {**sizes, "eval_batch_size": config.eval_batch_size}.items():
        if devices and size % devices:
            yield (
                f"config.{key} is {size}, but must be divisible by the {devices} devices. "
                f"Use {_next_multiple(size, devices)}."
            )
    num_images = facts.num_images.get(data.train_split)
    if facts.trains and num_images is not None and 2 <= num_images < batch_size:
        yield (
            f"config.train.batch_size is {batch_size}, but split {data.train_split!r} of {data.name} has "
            f"only {num_images} images. Use a smaller batch size."
        )
    for split, count in facts.num_images.items():
        if count < 2:
            yield f"config.data: split {split!r} of {data.name} has {count} images, but 2 or more are needed."


def _next_multiple(number: int, factor: int) -> int:
    return -(-number // factor) * factor
