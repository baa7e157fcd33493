"""Snapshots of a network at several steps: statistics of its outputs for two views of the same images."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from barlow_jax.checkpoints.restore import Checkpoints, open_checkpoints
from barlow_jax.checkpoints.verify import unreadable
from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals.correlation import correlate
from barlow_jax.evals.spectrum import spectrum
from barlow_jax.experiment import fixed_views
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.fixed_views import FIRST_VIEW, FrozenNetwork
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.reporting.schema import Snapshot
from barlow_jax.workdir import saved_run

MAX_CHECKPOINTS = 5
_MAX_ATTEMPTS = 3  # to read checkpoints while the run removes old ones


def take_snapshots(
    experiment: Experiment, workdir: Path, source: splits.Split, images: int
) -> list[Snapshot]:
    """Return snapshots before training and at up to five evenly spaced checkpoints.

    The newest intact checkpoint is always included. The list is empty if no checkpoint holds the whole
    network, as in a workdir with only an encoder.
    """
    views = fixed_views.make_views(experiment, source, images, view_pair(experiment.config))
    record = partial(take, FrozenNetwork(experiment), views=views)
    init = experiment.jit_once(experiment.network.init)
    abstract = jax.eval_shape(init, jax.random.key(0))
    snapshots: list[Snapshot] = []
    tried: set[int] = set()
    for _ in range(_MAX_ATTEMPTS):
        steps = set(saved_run.checkpoint_steps(workdir))
        if snapshots or steps <= tried:
            break
        tried |= steps
        snapshots = _restore_snapshots(experiment.layout, workdir, abstract, record)
    if not snapshots:
        log.warning(
            f"{workdir} holds no intact checkpoint of the whole network. The report leaves out snapshots."
        )
        return []
    if snapshots[0].step > 0:  # add the initial network
        snapshots.insert(0, record(0, *init(jax.random.key(experiment.config.seed))))
    return snapshots


def _restore_snapshots(
    layout: Layout, workdir: Path, abstract: tuple[Any, Any], record: Callable[..., Snapshot]
) -> list[Snapshot]:
    """Return the snapshots that `record` takes of a step, its parameters and running statistics."""
    snapshots = []
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        for step in select_checkpoints(
            checkpoints, dict(zip(("params", "batch_stats"), abstract, strict=True))
        ):
            try:
                state = checkpoints.restore_part(*abstract, layout, step)
            # Errors of Orbax or TensorStore: a damaged checkpoint without digests, or one that the running
            # training removed meanwhile.
            except Exception as error:
                _warn_skipped(step, unreadable(error))
                continue
            snapshots.append(record(step, *state))
    return snapshots


def select_checkpoints(checkpoints: Checkpoints, abstract: Mapping[str, Any]) -> list[int]:
    """Return up to five evenly spaced steps, always including the newest intact one.

    Damaged checkpoints are skipped with a warning. Only the checkpoints that are candidates are read.
    """
    steps, valid = list(checkpoints.steps), set[int]()
    while steps:
        indices = np.linspace(0, len(steps) - 1, MAX_CHECKPOINTS).round().astype(int)
        chosen = [steps[index] for index in np.unique(indices)]
        damaged = []
        for step in (step for step in chosen if step not in valid):
            verdict = checkpoints.examine(step, abstract, part=True)
            if verdict.problems:
                _warn_skipped(step, verdict.summary)
                damaged.append(step)
            else:
                valid.add(step)
        if not damaged:
            return chosen
        steps = [step for step in steps if step not in damaged]
    return []


def view_pair(config: Config) -> dict[str, View]:
    """Return the two views that are correlated; small crops are left out.

    The views are a and b. Without b: a, and a with other random numbers. For text: a; the caption is added.
    """
    views = config.recipe.views
    names = (FIRST_VIEW,) if config.network.reads_text else (FIRST_VIEW, SECOND_VIEW)
    return {name: views.get(name, views[FIRST_VIEW]) for name in names}


def take(
    network: FrozenNetwork, step: int, params: Any, batch_stats: Any, views: Mapping[str, np.ndarray]
) -> Snapshot:
    """Return the snapshot of views a and b; the spectra are those of view a."""
    representation, z_a = network.outputs(params, batch_stats, FIRST_VIEW, views[FIRST_VIEW])
    if not z_a.size:
        return Snapshot(step, spectrum(representation))
    _, z_b = network.outputs(params, batch_stats, SECOND_VIEW, views[SECOND_VIEW])
    return Snapshot(step, spectrum(representation), spectrum(z_a), correlate(z_a, z_b))


def _warn_skipped(step: int, reason: str) -> None:
    log.warning(f"checkpoint of step {step} is skipped: {reason}")
