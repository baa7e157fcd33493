"""Choices for a run on a user's own images: measured on a sample of them and on the devices."""

from collections import Counter
from collections.abc import Mapping
import contextlib
import statistics
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from barlow_jax.config import library, overrides as trees
from barlow_jax.config.schema import Config, Data
from barlow_jax.data import collection, image_stats, splits
from barlow_jax.data.sampler import SampleRange
from barlow_jax.distributed import exchange, same_data
from barlow_jax.errors import UserError
from barlow_jax.experiment import choices as rules, lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log, paths, processors
from barlow_jax.io.paths import PathLike
from barlow_jax.training import compilation_cache
from barlow_jax.training.prefetch import DevicePrefetcher

_MIN_STEPS, _MAX_STEPS, _SECONDS = 3, 40, 8.0  # that a trial times
_MEMORY = 0.9  # fraction of a device's memory that a step may need
_STEPS_FRACTION = 0.95  # of a budget; evaluations and checkpoints take the rest


def config_for_images(
    path: PathLike,
    *,
    labels: PathLike = "",
    hours: float | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return a config for your own images: settings are measured on a sample of them and on the devices.

        config = config_for_images("photos", hours=2, overrides={"data.image_size": 96})

    Args:
      path: folder, list, table, tar shards or arrays (docs/own_images.md).
      labels: table with labels, or "folders"; used only to measure.
      hours: length of the run, above 0; None = 4000 steps on CPUs, 30 000 elsewhere, at most 300 epochs.
      preset: augmentation: photographs, microscopy, satellite or documents; None = chosen.
      overrides: config values by dotted key, which are not chosen.

    Raises:
      UserError: the images cannot be read, a value is wrong, or the run would be too short.
    """
    if hours is not None and not 0 < hours < float("inf"):
        raise UserError(f"hours is {hours}, but must be a number > 0.")
    fixed = {"data.data_dir": paths.text(path), "data.labels": paths.text(labels), **(overrides or {})}
    config = library.load_config("images" if preset is None else f"images:{preset}").replace(fixed)
    tree, _ = choose(config, set(overrides or {}), preset=preset, hours=hours, trains=True)
    return trees.from_tree(tree)[0]


def choose(
    config: Config, fixed: set[str], *, preset: str | None, hours: float | None, trains: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Choose the settings that the user has not fixed, and log each with its reason.

    Args:
      config: config with the path of the images.
      fixed: dotted keys that stay as they are.
      preset: name of the augmentation (`config.presets`); None to choose it too.
      hours: length of the run; None for a number of steps.
      trains: whether a step may be compiled to measure its memory and its time.

    Returns:
      The config as a nested dict, and the choices: each has "settings" by dotted key and a "reason".

    Raises:
      UserError: no image can be decoded, or the run would be too short.
    """
    tree = trees.to_config_dict(config).to_dict()
    choices, started, devices = rules.Choices(tree, fixed), time.monotonic(), _describe_devices()
    problems = []
    try:
        _choose_data(choices, tree, devices, preset)
    except UserError as error:
        problems = [str(error)]
    if problems := exchange.all_problems(problems):
        raise UserError("\n  ".join(problems))
    source = same_data.open_split(_data(tree), _data(tree).train_split)
    number = source.num_examples
    rules.choose_network(choices, number, devices, hours)
    rules.choose_optimizer(choices, devices)
    rules.choose_length(choices, number, devices, None)
    if trains and (hours or devices.memory):
        trial = _fit_memory(choices, tree, source, devices, steps=bool(hours))
        if hours:
            spent = time.monotonic() - started + trial.compile_seconds  # the run compiles once more
            seconds = exchange.call_on_first(lambda: int(_STEPS_FRACTION * 3600 * hours - spent))
            steps = max(0, int(seconds / trial.step_seconds))
            if steps < rules.MIN_STEPS:
                needed = (rules.MIN_STEPS * trial.step_seconds - seconds) / 3600 + hours
                raise UserError(
                    f"--hours is {hours:g}, which allows {steps} steps of {trial.step_seconds:.3g} s after "
                    f"compiling, but training needs {rules.MIN_STEPS} or more: {needed:.2g} hours, or a "
                    "smaller config.data.image_size or config.network."
                )
            rules.choose_length(choices, number, devices, (seconds, trial.step_seconds))
    log.info("\n".join(["chosen settings:", *map(_line, choices.made)]))
    return tree, choices.made


def _choose_data(
    choices: rules.Choices, tree: dict[str, Any], devices: rules.Devices, preset: str | None
) -> None:
    """Choose all that depends on a sample of the images."""
    _choose_splits(choices, collection.split_names(_data(tree)))
    opened = collection.open_collection(_data(tree), _data(tree).train_split)
    images = _describe_images(opened, _data(tree))
    rules.choose_pixels(choices, images)
    rules.choose_sizes(choices, images, devices)
    rules.choose_recipe(choices, preset)
    rules.choose_values(choices, image_stats.measure_values(opened, _data(tree)))


def _data(tree: Mapping[str, Any]) -> Data:
    return trees.from_tree(tree)[0].data


def _choose_splits(choices: rules.Choices, sizes: Mapping[str, int]) -> None:
    """Choose among the splits that the source has."""
    listed = ", ".join(f"{name} ({size} images)" for name, size in sizes.items())
    train = "train" if "train" in sizes else max(sizes, key=lambda name: sizes[name])
    others = [name for name in ("held_out", "validation", "val", "test", *sizes) if name in sizes]
    test = next((name for name in others if name != train), None)
    train, test = (train, test) if test else (f"{train}[:90%]", f"{train}[90%:]")
    choices.set(f"splits: {listed}", {"data.train_split": train, "data.eval_split": test})


def _describe_images(opened: collection.Collection, data: Data) -> rules.Images:
    """Return facts about the training images, from the headers of a sample."""
    stats = image_stats.measure(opened)
    headers, number = stats.headers, stats.num_images
    if number < 2 or not headers:
        found = f"{number} images" if number < 2 else f"none that can be decoded, such as {stats.failures[0]}"
        raise UserError(
            f"config.data: split {data.train_split!r} of {data.data_dir} has {found}; 2 or more are needed"
        )
    return rules.Images(
        number=number,
        side=int(np.median([min(header.height, header.width) for header in headers])),
        longest=max(max(header.height, header.width) for header in headers),
        complete=len(headers) + len(stats.failures) == number,
        channels=Counter(header.channels for header in headers).most_common(1)[0][0],
        dtypes=Counter(header.dtype for header in headers),
    )


def _describe_devices() -> rules.Devices:
    device = jax.local_devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit")  # None on a CPU
    cores = processors.available()
    return rules.Devices(jax.device_count(), device.platform == "cpu", cores, memory)


class Trial(NamedTuple):
    """Costs of a train step."""

    memory: int  # bytes of each device
    compile_seconds: float
    step_seconds: float | None  # None if no step was executed


def _fit_memory(
    choices: rules.Choices, tree: dict[str, Any], source: splits.Split, devices: rules.Devices, *, steps: bool
) -> Trial:
    """Choose as many microbatches as the devices' memory requires; return the costs of the step."""
    rows = choices.get("train.batch_size") // devices.number
    while True:
        log.info("compiling the train step to measure it")
        trial = try_step(trees.from_tree(tree)[0], source, steps=steps)
        parts = 2 * choices.get("train.microbatches")
        if not devices.memory or trial.memory <= _MEMORY * devices.memory or rows % parts or rows < 2 * parts:
            return trial
        reason = f"the step needs {trial.memory / 1e9:.1f} GB of {devices.memory / 1e9:.1f} GB"
        choices.set(reason, {"train.microbatches": parts})


def _line(choice: Mapping[str, Any]) -> str:
    settings = {key.replace(".views.b.", ".views.*."): value for key, value in choice["settings"].items()}
    text = "  ".join(f"{key}={_format(x)}" for key, x in settings.items() if ".views.a." not in key)
    return f"  {text}  ({choice['reason']})"


def _format(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def try_step(config: Config, source: splits.Split, *, steps: bool) -> Trial:
    """Compile the train step of a config; with `steps`, also execute and time some, with their data."""
    experiment = Experiment.from_config(config)
    sampler = experiment.sampler(source.num_examples)
    with compilation_cache.persistent(config.train.compilation_cache):
        started = time.monotonic()
        compiled = lowering.lower(experiment, sampler, "step")[0].compile()
        compile_seconds = time.monotonic() - started
        memory = lowering.memory(compiled)
        if not steps:
            return Trial(memory, compile_seconds, None)
        state, times = experiment.init(sampler)(jax.random.key(config.seed)), []
        sample_range = SampleRange(sampler, 0, _MAX_STEPS, experiment.shard)
        batches = source.train_batches(config.data, config.recipe.views, sample_range)
        with contextlib.closing(DevicePrefetcher(batches, experiment.layout.shard)) as prefetcher:
            while len(times) < _MAX_STEPS:
                now = time.monotonic()
                state, metrics = compiled(state, prefetcher.next())
                jax.block_until_ready(metrics)
                times.append(time.monotonic() - now)
                if exchange.call_on_first(lambda: int(len(times) > _MIN_STEPS and sum(times) >= _SECONDS)):
                    break
    # The first step waits for the first batch. All processes use the time of process 0.
    microseconds = exchange.call_on_first(lambda: int(1e6 * statistics.mean(times[1:])))
    return Trial(memory, compile_seconds, microseconds / 1e6)
