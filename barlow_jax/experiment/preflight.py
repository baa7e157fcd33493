"""Checks of a config, a data set and a workdir before anything slow starts."""

from collections.abc import Mapping, Sequence
from typing import Any

from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.config.value_range import AUTO
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.io import log, paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.workdir import saved_run

_NUM_SAMPLED = 16  # images, of which one must be decoded


def check(
    config: Config, *, trains: bool = False, splits: Sequence[str] = ("train_split", "eval_split")
) -> Config:
    """Return the config that can run: an automatic value range is measured.

    Args:
      config: config to check against the data set and the devices.
      trains: whether a train step will be made from it.
      splits: keys of config.data whose splits must exist.

    Raises:
      UserError: lists all problems.
    """
    import jax

    problems = validate(config, Facts())
    if not problems:
        config, problems = sample_images(config, splits)
    if not problems:
        names = tuple(dict.fromkeys(getattr(config.data, key) for key in splits))
        num_images, problems = catalog.count_images(config.data, names)
        problems += validate(config, Facts(jax.device_count(), num_images, trains))
    if trains and not problems:
        problems = training_problems(config)
    if problems:
        raise UserError.from_problems(problems)
    return config


def build(tree: Mapping[str, Any], workdir: PathLike | None) -> tuple[Config, list[str]]:
    """Return the config and its problems; an automatic value range is that of the workdir's run, if any."""
    config, problems = overrides.from_tree(tree)
    saved = saved_run.saved_config(workdir) if workdir and config.data.value_range == AUTO else None
    if saved:
        config = config.replace({"data.value_range": overrides.from_tree(saved)[0].data.value_range})
    return config, problems


def sample_images(config: Config, splits: Sequence[str]) -> tuple[Config, list[str]]:
    """Decode a sample of own images: measure an automatic value range, and report if none can be decoded.

    `splits` are the keys of config.data whose splits are used.

    Returns:
      The config with the measured value range, and the problems.
    """
    data, is_auto = config.data, config.data.value_range == AUTO
    if data.name != "images" or not (is_auto or splits) or validate(config, Facts()):
        return config, []
    from barlow_jax.data import collection, image_stats

    split = data.train_split if is_auto else getattr(data, splits[0])
    number = image_stats.NUM_IMAGES if is_auto else _NUM_SAMPLED
    try:
        values = image_stats.measure_values(collection.open_collection(data, split), data, number)
    except UserError as error:
        return config, [str(error)]
    if is_auto:
        log.info(f"config.data.value_range={values.value_range}: 0.1 and 99.9 percentiles of each channel")
    return config.replace({"data.value_range": values.value_range}), []


def training_problems(config: Config) -> list[str]:
    """Return what keeps a train step of the config from being made."""
    from barlow_jax.augment import custom
    from barlow_jax.experiment.experiment import run_info
    from barlow_jax.networks.network import own_problems
    from barlow_jax.objectives.registry import make_objective
    from barlow_jax.workdir import sinks

    problems = [
        *sinks.missing_packages(config.monitor.sinks),
        *custom.problems(config),
        *own_problems(config),
    ]
    try:
        make_objective(config.objective, run_info(config))
        return problems
    except UserError as error:
        return [*problems, str(error)]


def workdir_problems(workdir: str | None, *, required: bool = True) -> list[str]:
    """Return what keeps a path from being a workdir."""
    if not workdir:
        return ["--workdir is missing. Pass the folder for checkpoints and results."] if required else []
    if problem := paths.problem(workdir, ("gs",)):
        return [f"--workdir: {problem}."]
    if "\\" in paths.absolute(workdir):  # TensorStore does not find the files again
        return [f"--workdir {workdir} has a backslash in its path. Use another path."]
    if Path(workdir).exists() and not Path(workdir).is_dir():
        return [f"--workdir {workdir} is not a folder."]
    return []
