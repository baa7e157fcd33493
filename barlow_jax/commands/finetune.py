"""Semi-supervised: the whole encoder and a new classifier, trained on a share of the labels.

The official code's evaluation: BatchNorm in training mode, SGD with one learning rate for the encoder and one
for the head, random crop and flip. The step is that of pretraining, with the classification objective.
"""

import argparse
from collections.abc import Callable
import contextlib
import dataclasses
import functools
from functools import partial
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax import optim
from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import HEADS
from barlow_jax.config.recipe import Recipe, classifier_view
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.evals import features, scores
from barlow_jax.evals.subsets import accuracy_by_fraction
from barlow_jax.experiment import encoders
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts, init_of
from barlow_jax.training.loop import fit
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.training.step import compile_step
from barlow_jax.types import TrainState

# SimCLR's lists of ImageNet images, by share of the labels; every paper since takes them.
_LISTS = {"imagenet2012": {0.01: "imagenet2012_subset/1pct", 0.1: "imagenet2012_subset/10pct"}}


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    experiment = Experiment.of(config)
    encoder = experiment.encoder_state(encoders.place(workdir, args), args.features)
    return {"features": args.features, "step": encoder.step, **finetune(config, encoder)}


def finetune(config: Config, encoder: EncoderState) -> dict[str, Any]:
    """Top-1 and top-5 in percent after the last epoch, by the fraction of the labels.

    Broken images are those that this process met: of a training split, in the fraction with most of them.
    """
    lists, draws = _LISTS.get(config.data.name, {}), config.finetune.subset_repeats
    test = splits.open_split(config.data, config.data.eval_split)
    results, decode_failures = {}, 0
    for fraction in config.finetune.label_fractions:
        data = dataclasses.replace(config.data, name=lists.get(fraction, config.data.name))
        train = splits.open_split(data, data.train_split)
        labels = train.read_labels()
        compiled = functools.cache(partial(_compile, config, int(labels.max()) + 1))

        def measure(rows: np.ndarray, draw: int, train=train, compiled=compiled) -> dict[str, float]:
            tuning = compiled(len(rows))  # every draw has as many
            return _accuracy(tuning, _train(tuning, encoder, train, rows, draw), test)

        shard = 1.0 if fraction in lists else fraction
        (results[f"{fraction:g}"],) = accuracy_by_fraction(labels, [shard], draws, measure).values()
        decode_failures = max(decode_failures, len(train.decode_failures))
    return {"finetune": results} | decode_failure_counts(decode_failures, len(test.decode_failures))


class Tuning(NamedTuple):
    """What all trainings on so many images share."""

    experiment: Experiment
    sampler: EpochSampler
    init: Callable[[jax.Array], TrainState]
    step: Callable
    encode: Callable  # (params, batch_stats, images) -> [B, H]


def tuned(config: Config, num_classes: int, batch_size: int) -> Config:
    """The config of a classifier on the same encoder."""
    return dataclasses.replace(
        config,
        recipe=Recipe({"a": classifier_view(config.recipe.views["a"])}),
        data=dataclasses.replace(config.data, caption_words=0),
        network=dataclasses.replace(
            config.network, branches="shared", second_encoder=None, **HEADS | {"num_classes": num_classes}
        ),
        objective=config_lib.Objective(name="classification"),
        train=dataclasses.replace(config.train, batch_size=batch_size, microbatches=1),
        mesh=dataclasses.replace(config.mesh, projector="replicated"),
    )


def _compile(config: Config, num_classes: int, num_rows: int) -> Tuning:
    devices = jax.device_count()
    batch_size = min(config.finetune.batch_size, num_rows) // devices * devices
    if batch_size < 2:
        raise UserError(
            f"config.finetune.label_fractions: {num_rows} images are too few for a batch on {devices} devices"
        )
    experiment = Experiment.of(tuned(config, num_classes, batch_size))
    sampler = EpochSampler(config.seed, num_rows, batch_size)
    optimizer = optim.finetune(config.finetune, sampler.steps_per_epoch)
    parts = experiment.step_parts(sampler) | {"optimizer": optimizer}
    init = experiment.run_once(init_of(parts))
    step = compile_step(experiment.layout, jax.eval_shape(init, jax.random.key(0)), **parts)
    return Tuning(experiment, sampler, init, step, experiment.jitted_encoder())


def _train(
    tuning: Tuning, encoder: EncoderState, source: splits.Split, rows: np.ndarray, draw: int
) -> TrainState:
    """From the encoder and a new head; `draw` seeds the head, the order and the augmentation."""
    experiment, sampler = (
        tuning.experiment,
        dataclasses.replace(tuning.sampler, seed=tuning.sampler.seed + draw),
    )
    config = experiment.config
    num_steps = config.finetune.num_epochs * sampler.steps_per_epoch
    state = tuning.init(jax.random.key(draw))
    # The step takes over the memory of what it is given, and the next draw starts from the encoder again.
    params, stats = jax.tree.map(jnp.copy, (encoder.params, encoder.batch_stats))
    state = state._replace(params=state.params | params, batch_stats=state.batch_stats | stats)
    sample_range = SampleRange(sampler, 0, num_steps, experiment.shard, rows)
    batches = source.train_batches(config.data, config.recipe.views, sample_range)
    with contextlib.closing(DevicePrefetcher(batches, experiment.layout.place)) as feed:
        return fit(tuning.step, state, feed, num_steps=num_steps)


def _accuracy(tuning: Tuning, state: TrainState, test: splits.Split) -> dict[str, float]:
    """Top-1 and top-5 in 0..1, in evaluation mode."""
    params, stats = ({"encoder": tree["encoder"]} for tree in (state.params, state.batch_stats))
    experiment, encode = tuning.experiment, partial(tuning.encode, params, stats)
    table = features.extract(encode, experiment.eval_batches(test), experiment.layout)
    head = jax.device_get(state.params["classifier"]["layer"])
    return scores.accuracy_on(table)({"weight": head["kernel"], "bias": head["bias"]})
