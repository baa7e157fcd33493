"""The network of a run at several steps, by what it makes of two views of the same images."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from functools import partial
import pathlib
import sys
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
from barlow_jax.report.schema import Snapshot
from barlow_jax.types import Batch
from barlow_jax.workdir import saved_run

FIRST = "a"  # the view that every method has
MOST_CHECKPOINTS = 5
_AT_A_TIME = 128  # views
_ATTEMPTS = 3  # to read checkpoints of a run that removes them meanwhile


def snapshots(
    experiment: Experiment, workdir: pathlib.Path, source: splits.Split, images: int
) -> list[Snapshot]:
    """Before training and at up to five checkpoints, evenly spread, the newest good one among them.

    None where no checkpoint holds the whole network, as in a folder of an encoder alone.
    """
    views = make_views(experiment, source, images)
    measure = Measure(experiment)
    init = experiment.run_once(experiment.network.init)
    abstract = jax.eval_shape(init, jax.random.key(0))
    found: list[Snapshot] = []
    tried: set[int] = set()
    for _ in range(_ATTEMPTS):
        there = set(saved_run.checkpoint_steps(workdir))
        if found or there <= tried:
            break
        tried |= there
        found = _of_checkpoints(experiment.layout, workdir, abstract, lambda *state: measure(*state, views))
    if not found:
        say(f"{workdir} holds no whole checkpoint that can be used: how the network changed is left out")
        return []
    if found[0].step > 0:  # what training started from
        found.insert(0, measure(0, *init(jax.random.key(experiment.config.seed)), views))
    return found


def _of_checkpoints(
    layout: Layout, workdir: pathlib.Path, abstract: tuple[Any, Any], measure: Callable[..., Snapshot]
) -> list[Snapshot]:
    """Those that `measure` makes of a step, parameters and statistics."""
    found = []
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        for step in usable(checkpoints, dict(zip(("params", "batch_stats"), abstract, strict=True))):
            try:
                state = checkpoints.restore_part(*abstract, layout, step)
            # Of Orbax, of TensorStore: it has no digests and is damaged, or a run that goes on has removed it.
            except Exception as error:
                _pass_over(step, unreadable(error))
                continue
            found.append(measure(step, *state))
    return found


def usable(checkpoints: Checkpoints, abstract: Mapping[str, Any]) -> list[int]:
    """Up to five of the steps, evenly spread, the newest good one among them; damaged ones are said and passed over.

    Of many checkpoints only those are read that are taken.
    """
    left, good = list(checkpoints.steps), set[int]()
    while left:
        places = np.linspace(0, len(left) - 1, MOST_CHECKPOINTS).round().astype(int)
        chosen = [left[place] for place in np.unique(places)]
        bad = []
        for step in (step for step in chosen if step not in good):
            verdict = checkpoints.examine(step, abstract, part=True)
            if verdict.problems:
                _pass_over(step, verdict.summary)
                bad.append(step)
            else:
                good.add(step)
        if not bad:
            return chosen
        left = [step for step in left if step not in bad]
    return []


def pair(config: Config) -> Recipe:
    """The two views that are correlated: a and b; a and another draw of a, of a method that has no b; a and a caption.

    Of views that a method crops small beside these two nothing is made.
    """
    views = config.recipe.views
    if config.network.reads_text:
        return Recipe({FIRST: views[FIRST]})
    return Recipe({FIRST: views[FIRST], SECOND_VIEW: views.get(SECOND_VIEW, views[FIRST])})


def make_views(experiment: Experiment, source: splits.Split, images: int) -> dict[str, np.ndarray]:
    """Both views, `[n, size, size, 3]` uint8 or `[n, T]` int32 of captions, of the first images of the run's first epoch.

    They are made where the config has them made, by the draws of its seed.
    """
    config, number = experiment.config, min(images, source.num_examples)
    steps = -(-number // _AT_A_TIME)
    sampler = EpochSampler(config.seed, source.num_examples, number // steps)
    data, recipe = dataclasses.replace(config.data, cache="none"), pair(config)
    augment = jax.jit(experiment.augment(recipe)) if data.augment_on == "device" else lambda decoded: decoded
    made = [
        jax.device_get(augment(batch.views))
        for batch in source.train_batches(data, recipe.views, SampleRange(sampler, 0, steps))
    ]
    return {name: np.concatenate([views[name] for views in made]) for name in (FIRST, SECOND_VIEW)}


class Measure:
    """Moments of one network."""

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        self._jitted: dict[Any, Callable[..., jax.Array]] = {}

    def __call__(self, step: int, params: Any, batch_stats: Any, views: Mapping[str, np.ndarray]) -> Snapshot:
        """By view a and b; the spectra are those of view a."""
        representation, z_a = self.outputs(params, batch_stats, FIRST, views[FIRST])
        of_representations = spectrum(representation)
        if not z_a.size:
            return Snapshot(step, None, 1, None, None, None, None, *of_representations)
        _, z_b = self.outputs(params, batch_stats, SECOND_VIEW, views[SECOND_VIEW])
        c = correlate(z_a, z_b)
        matrix = c.cells, c.features_per_cell, c.diagonal, c.off_diagonal
        return Snapshot(step, *matrix, *spectrum(z_a), *of_representations)

    def outputs(
        self, params: Any, batch_stats: Any, name: str, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`[n, H]` representations and `[n, D]` embeddings of a view, in evaluation mode, float32; D is 0 without a
        projector."""
        encode = partial(self._frozen(name), params, batch_stats)

        def batches() -> Iterator[Batch]:
            for start in range(0, len(rows), _AT_A_TIME):
                part = rows[start : start + _AT_A_TIME]
                yield Batch({name: part}, np.zeros(len(part), np.int32), np.arange(len(part)))

        table = features.extract(encode, batches(), self._experiment.layout)
        width = table.features.shape[1] - (0, *self._experiment.config.network.projector)[-1]
        return table.features[:, :width], table.features[:, width:]

    def _frozen(self, name: str) -> Callable[..., jax.Array]:
        """`(params, batch_stats, rows) -> [B, H + D]`, compiled once for views that are treated alike."""
        config, network, layout = self._experiment.config, self._experiment.network, self._experiment.layout
        recipe = pair(config)
        branch = name if config.network.branches == "own" else FIRST
        alike = branch, recipe.views[name].normalize if name in recipe.views else None

        def side_by_side(params: Any, stats: Any, rows: jax.Array) -> jax.Array:
            (view,) = normalize_views({name: rows}, recipe).values()
            made = network.apply_frozen(params, stats, name, view)
            parts = [part for part in (made.representation, made.embedding) if part is not None]
            return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=1)

        if alike not in self._jitted:
            self._jitted[alike] = jax.jit(
                side_by_side, in_shardings=(None, None, layout.batch), out_shardings=layout.replicated
            )
        return self._jitted[alike]


def _pass_over(step: int, why: str) -> None:
    say(f"the checkpoint of step {step} is passed over: {why}")


def say(words: str) -> None:
    """To the person who waits for the report."""
    print(f"note: {words}", file=sys.stderr)
