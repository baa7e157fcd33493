"""Augmented views of fixed images, and a network's outputs for them in evaluation mode."""

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
from functools import partial
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.views import normalize_views
from barlow_jax.config.recipe import SECOND_VIEW, Recipe, View
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.evals import features
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.training import preemption
from barlow_jax.types import Batch

FIRST_VIEW = "a"  # every method has it
_BATCH_SIZE = 128  # views


def make_views(
    experiment: Experiment,
    source: splits.Split,
    images: int,
    views: Mapping[str, View],
    around: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> dict[str, np.ndarray]:
    """Return this process's rows of views of the first images of the run's first epoch.

    They are augmented on the host or the device, as the config has it, with the random numbers of its seed. A
    few images are left out if they do not divide into equal batches. `around` wraps the batches.

    Returns:
      `[n, size, size, 3]` uint8 pixel values by name of the view, and `[n, T]` int32 tokens of a caption.
    """
    config, shard, number = experiment.config, experiment.shard, min(images, source.num_examples)
    steps = -(-number // max(_BATCH_SIZE, shard.processes))
    sampler = EpochSampler(
        config.seed, source.num_examples, number // steps // shard.processes * shard.processes
    )
    # Large images are cropped on the host, and all crops of an image share one canvas.
    room = math.ceil(math.sqrt(len(views))) * config.data.image_size if len(views) > 2 else 0
    data = dataclasses.replace(config.data, cache="none", canvas=max(config.data.canvas, room))
    augment = jax.jit(experiment.augment(Recipe(views))) if data.augment_on == "device" else lambda rows: rows
    batches = source.train_batches(data, views, SampleRange(sampler, 0, steps, shard))
    made = [jax.device_get(augment(batch.views)) for batch in around(batches)]
    return {name: np.concatenate([rows[name] for rows in made]) for name in made[0]}


def monitor_views(experiment: Experiment, source: splits.Split) -> dict[str, np.ndarray]:
    """Return `monitor.views` views, by turns of the kinds a and b, of each of `monitor.num_images` images."""
    config, recipe = experiment.config.monitor, experiment.config.recipe.views
    pair = recipe[FIRST_VIEW], recipe.get(SECOND_VIEW, recipe[FIRST_VIEW])
    augmentations = {str(i): pair[i % 2] for i in range(config.views)}
    views = make_views(experiment, source, config.num_images, augmentations, preemption.with_stop_points)
    return {name: views[name] for name in augmentations}


class FrozenNetwork:
    """Outputs of one network at different parameters; compiles once per branch."""

    def __init__(self, experiment: Experiment, around: Callable[[Iterable[Batch]], Iterable[Batch]] = iter):
        """Initialize without compiling anything. `around` wraps the batches."""
        self._experiment, self._around = experiment, around
        self._compiled: dict[Any, Callable[..., jax.Array]] = {}

    def outputs(
        self, params: Any, batch_stats: Any, name: str, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `[n, H]` representations and `[n, D]` embeddings, float32; D = 0 without a projector.

        The trees are those of the whole network; the name of the view selects the branch. `rows` are this
        process's, n counts those of all processes.
        """
        encode = partial(self._encode(name), params, batch_stats)
        size = max(1, _BATCH_SIZE // self._experiment.shard.processes)
        size = -(-len(rows) // -(-len(rows) // size))  # batches of one shape, which compile once

        def batches() -> Iterator[Batch]:
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                yield Batch({name: part}, np.zeros(len(part), np.int32), np.arange(len(part)))

        table = features.extract(encode, self._around(batches()), self._experiment.layout)
        width = table.features.shape[1] - (0, *self._experiment.config.network.projector)[-1]
        return table.features[:, :width], table.features[:, width:]

    def _encode(self, name: str) -> Callable[..., jax.Array]:
        """Return a function `(params, batch_stats, rows) -> [B, H + D]`, one per branch and normalization."""
        config, network, layout = self._experiment.config, self._experiment.network, self._experiment.layout
        branch = name if config.network.branches == "own" else FIRST_VIEW
        is_text = config.network.reads_text and name == SECOND_VIEW
        view = None if is_text else config.recipe.views.get(name, config.recipe.views[FIRST_VIEW])
        recipe, key = Recipe({name: view} if view else {}), (branch, view and view.normalize)

        def encode(params: Any, stats: Any, rows: jax.Array) -> jax.Array:
            (images,) = normalize_views({name: rows}, recipe).values()
            outputs = network.apply_frozen(params, stats, name, images)
            parts = [part for part in (outputs.representation, outputs.embedding) if part is not None]
            return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=1)

        if key not in self._compiled:
            self._compiled[key] = jax.jit(
                encode, in_shardings=(None, None, layout.batch), out_shardings=layout.replicated
            )
        return self._compiled[key]
