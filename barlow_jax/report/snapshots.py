"""Snapshots of a network at several steps: statistics of its outputs for two views of the same images."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from functools import partial
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.views import normalize_views
from barlow_jax.checkpoints.restore import Checkpoints, open_checkpoints
from barlow_jax.checkpoints.verify import unreadable
from barlow_jax.config.recipe import SECOND_VIEW, Recipe
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import features
from barlow_jax.evals.correlation import correlate
from barlow_jax.evals.spectrum import spectrum
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.report.schema import Snapshot
from barlow_jax.types import Batch
from barlow_jax.workdir import saved_run

FIRST_VIEW = "a"  # every method has it
MAX_CHECKPOINTS = 5
_BATCH_SIZE = 128  # views
_MAX_ATTEMPTS = 3  # to read checkpoints while the run removes old ones


def take_snapshots(
    experiment: Experiment, workdir: pathlib.Path, source: splits.Split, images: int
) -> list[Snapshot]:
    """Return snapshots before training and at up to five evenly spaced checkpoints.

    The newest intact checkpoint is always included. The list is empty if no checkpoint holds the whole
    network, as in a workdir with only an encoder.
    """
    views = make_views(experiment, source, images)
    recorder = SnapshotRecorder(experiment)
    init = experiment.jit_once(experiment.network.init)
    abstract = jax.eval_shape(init, jax.random.key(0))
    snapshots: list[Snapshot] = []
    tried: set[int] = set()
    for _ in range(_MAX_ATTEMPTS):
        steps = set(saved_run.checkpoint_steps(workdir))
        if snapshots or steps <= tried:
            break
        tried |= steps
        record = partial(recorder, views=views)
        snapshots = _restore_snapshots(experiment.layout, workdir, abstract, record)
    if not snapshots:
        log.warning(
            f"{workdir} holds no intact checkpoint of the whole network. The report leaves out snapshots."
        )
        return []
    if snapshots[0].step > 0:  # add the initial network
        snapshots.insert(0, recorder(0, *init(jax.random.key(experiment.config.seed)), views=views))
    return snapshots


def _restore_snapshots(
    layout: Layout, workdir: pathlib.Path, abstract: tuple[Any, Any], record: Callable[..., Snapshot]
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


def view_pair(config: Config) -> Recipe:
    """Return the recipe of the two views that are correlated; small crops are left out.

    The views are a and b. Without b: a, and a with other random numbers. For text: a and the caption.
    """
    views = config.recipe.views
    if config.network.reads_text:
        return Recipe({FIRST_VIEW: views[FIRST_VIEW]})
    return Recipe({FIRST_VIEW: views[FIRST_VIEW], SECOND_VIEW: views.get(SECOND_VIEW, views[FIRST_VIEW])})


def make_views(experiment: Experiment, source: splits.Split, images: int) -> dict[str, np.ndarray]:
    """Return both views of the first images of the run's first epoch.

    They are augmented on the host or the device, as the config has it, with the random numbers of its seed.

    Returns:
      `[n, size, size, 3]` uint8 pixel values, or `[n, T]` int32 tokens of captions, by name of the view.
    """
    config, number = experiment.config, min(images, source.num_examples)
    steps = -(-number // _BATCH_SIZE)
    sampler = EpochSampler(config.seed, source.num_examples, number // steps)
    data, recipe = dataclasses.replace(config.data, cache="none"), view_pair(config)
    augment = jax.jit(experiment.augment(recipe)) if data.augment_on == "device" else lambda decoded: decoded
    batches = [
        jax.device_get(augment(batch.views))
        for batch in source.train_batches(data, recipe.views, SampleRange(sampler, 0, steps))
    ]
    return {name: np.concatenate([views[name] for views in batches]) for name in (FIRST_VIEW, SECOND_VIEW)}


class SnapshotRecorder:
    """Takes snapshots of one network at different parameters."""

    def __init__(self, experiment: Experiment):
        """Initialize without compiling anything."""
        self._experiment = experiment
        self._compiled: dict[Any, Callable[..., jax.Array]] = {}

    def __call__(self, step: int, params: Any, batch_stats: Any, views: Mapping[str, np.ndarray]) -> Snapshot:
        """Return the snapshot of views a and b; the spectra are those of view a."""
        representation, z_a = self._outputs(params, batch_stats, FIRST_VIEW, views[FIRST_VIEW])
        representation_spectrum = spectrum(representation)
        if not z_a.size:
            return Snapshot(step, None, 1, None, None, None, None, *representation_spectrum)
        _, z_b = self._outputs(params, batch_stats, SECOND_VIEW, views[SECOND_VIEW])
        c = correlate(z_a, z_b)
        correlation = c.cells, c.features_per_cell, c.diagonal, c.off_diagonal
        return Snapshot(step, *correlation, *spectrum(z_a), *representation_spectrum)

    def _outputs(
        self, params: Any, batch_stats: Any, name: str, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `[n, H]` representations and `[n, D]` embeddings, float32; D = 0 without a projector."""
        encode = partial(self._encode(name), params, batch_stats)

        def batches() -> Iterator[Batch]:
            for start in range(0, len(rows), _BATCH_SIZE):
                part = rows[start : start + _BATCH_SIZE]
                yield Batch({name: part}, np.zeros(len(part), np.int32), np.arange(len(part)))

        table = features.extract(encode, batches(), self._experiment.layout)
        width = table.features.shape[1] - (0, *self._experiment.config.network.projector)[-1]
        return table.features[:, :width], table.features[:, width:]

    def _encode(self, name: str) -> Callable[..., jax.Array]:
        """Return a function `(params, batch_stats, rows) -> [B, H + D]`, in evaluation mode.

        Views with the same branch and normalization share one compiled function.
        """
        config, network, layout = self._experiment.config, self._experiment.network, self._experiment.layout
        recipe = view_pair(config)
        branch = name if config.network.branches == "own" else FIRST_VIEW
        key = branch, recipe.views[name].normalize if name in recipe.views else None

        def encode(params: Any, stats: Any, rows: jax.Array) -> jax.Array:
            (view,) = normalize_views({name: rows}, recipe).values()
            outputs = network.apply_frozen(params, stats, name, view)
            parts = [part for part in (outputs.representation, outputs.embedding) if part is not None]
            return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=1)

        if key not in self._compiled:
            self._compiled[key] = jax.jit(
                encode, in_shardings=(None, None, layout.batch), out_shardings=layout.replicated
            )
        return self._compiled[key]


def _warn_skipped(step: int, reason: str) -> None:
    log.warning(f"checkpoint of step {step} is skipped: {reason}")
