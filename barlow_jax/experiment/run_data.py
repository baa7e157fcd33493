"""Data of a pretraining run: its splits, and whether they hold the examples that the run was trained on."""

import dataclasses
import pathlib
from typing import Any

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.config.methods import has_image_memory
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.distributed import exchange, same_data
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.workdir import provenance


@dataclasses.dataclass(frozen=True)
class RunData:
    """Splits of a run, open."""

    train: splits.Split
    test: splits.Split | None  # evaluation split, if the run is monitored and the split exists
    identities: dict[str, dict[str, Any]]  # by the name of the split: `splits.Identity`
    changes: dict[str, list[str]]  # [old, new] where the newest checkpoint was trained on other examples


def open_data(config: Config, workdir: pathlib.Path, *, extend: bool) -> RunData:
    """Open the splits of a run on all processes.

    Raises:
      UserError: the training split cannot be opened; the processes read different examples; or, unless
        `extend`, the run in the workdir was trained on others.
    """
    data, opened = config.data, {}
    for name in (data.train_split, *((data.eval_split,) if config.monitor.every_epochs else ())):
        try:
            opened[name] = opened.get(name) or same_data.open_split(data, name)
        except UserError as error:
            if name == data.train_split:
                raise
            log.warning(f"training is monitored on training images, without k-NN accuracy: {error}")
    identities = {name: splits.identify(split)._asdict() for name, split in opened.items()}
    changes = {} if newest_step(workdir) is None else provenance.data_changes(workdir, identities)
    remedy = "Restore the images, use another workdir, or pass --extend to train on with the new ones."
    if has_image_memory(config.objective.name):
        extend, remedy = False, "Restore the images, or use another workdir: the method remembers each image."
    problems = [
        f"--workdir: {workdir} was trained with {old} in {name}, but there are {new} now. {remedy}"
        for name, (old, new) in changes.items()
    ]
    if problems := exchange.all_problems([] if extend else problems):
        raise UserError("\n  ".join(problems))
    return RunData(opened[data.train_split], opened.get(data.eval_split), identities, changes)
