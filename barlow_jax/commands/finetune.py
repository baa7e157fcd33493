"""Train the encoder and a new classifier on a fraction of the labels (semi-supervised protocol).

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
from barlow_jax.cli.command import Command
from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import HEADS
from barlow_jax.config.recipe import Recipe, classifier_view
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.evals.accuracy import make_accuracy
from barlow_jax.evals.subsets import accuracy_by_fraction
from barlow_jax.experiment import encoders
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts
from barlow_jax.papers.scores import Evaluation, Score
from barlow_jax.training.loop import fit
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.training.step import compile_step, init_state
from barlow_jax.types import FeatureTable, TrainState

COMMAND = Command(
    examples=("finetune --workdir runs/digits --config.finetune.label_fractions=0.1",),
    encoder=True,
    baselines=("untrained",),
)

# SimCLR's lists of ImageNet images, by share of the labels; every paper since takes them.
_LISTS = {"imagenet2012": {0.01: "imagenet2012_subset/1pct", 0.1: "imagenet2012_subset/10pct"}}


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of fine-tuning."""
    experiment = Experiment.of(config)
    encoder = experiment.encoder_state(encoders.place(workdir, args), args.features)
    scores, counts = finetune(config, encoder)
    return Evaluation(args.features, encoder.step, tuple(scores)).to_json() | counts


def finetune(config: Config, encoder: EncoderState) -> tuple[list[Score], dict[str, Any]]:
    """Fine-tune with each configured fraction of the labels; return scores, and decode failures if any.

    Decode failures are those of this process: for the training split, the highest count of any fraction.
    """
    lists, settings = _LISTS.get(config.data.name, {}), config.finetune
    test = splits.open_split(config.data, config.data.eval_split)
    scores, decode_failures = [], 0
    for fraction in settings.label_fractions:
        data = dataclasses.replace(config.data, name=lists.get(fraction, config.data.name))
        train = splits.open_split(data, data.train_split)
        labels = train.read_labels()
        compiled = functools.cache(partial(_compile, config, int(labels.max()) + 1))
        num_images = []

        def measure(
            rows: np.ndarray, seed: int, train=train, compiled=compiled, num_images=num_images
        ) -> dict[str, float]:
            tuning = compiled(len(rows))  # every subset has as many
            table = _test_table(tuning, state := _train(tuning, encoder, train, rows, seed), test)
            num_images.append(len(table.labels))
            return _accuracy(state, table)

        fraction_of_list = 1.0 if fraction in lists else fraction
        ((_, repeats, values),) = accuracy_by_fraction(
            labels, [fraction_of_list], settings.subset_repeats, measure
        )
        score = partial(
            Score,
            "finetune",
            "finetuned",
            data_set=config.data.name,
            split=config.data.eval_split,
            num_images=num_images[0],
            label_fraction=fraction,
            repeats=repeats,
        )
        scores += [score(metric, value) for metric, value in values.items()]
        decode_failures = max(decode_failures, len(train.decode_failures))
    return scores, decode_failure_counts(decode_failures, len(test.decode_failures))


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
    parts = dataclasses.replace(experiment.step_parts(sampler), optimizer=optimizer)
    init = experiment.run_once(partial(init_state, parts=parts))
    step = compile_step(experiment.layout, jax.eval_shape(init, jax.random.key(0)), parts)
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
    with contextlib.closing(DevicePrefetcher(batches, experiment.layout.shard)) as feed:
        return fit(tuning.step, state, feed, num_steps=num_steps)


def _test_table(tuning: Tuning, state: TrainState, test: splits.Split) -> FeatureTable:
    params, stats = ({"encoder": tree["encoder"]} for tree in (state.params, state.batch_stats))
    experiment, encode = tuning.experiment, partial(tuning.encode, params, stats)
    return features.extract(encode, experiment.eval_batches(test), experiment.layout)


def _accuracy(state: TrainState, table: FeatureTable) -> dict[str, float]:
    """Return top1 and top5 in 0..1, in evaluation mode."""
    head = jax.device_get(state.params["classifier"]["layer"])
    return make_accuracy(table)({"weight": head["kernel"], "bias": head["bias"]})
