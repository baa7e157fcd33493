"""Linear probe of the newest checkpoint's encoder, frozen."""

import argparse
from collections.abc import Callable, Iterable
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from barlow_jax.config.recipe import Recipe, classifier_view
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.evals import features, linear, logistic
from barlow_jax.evals.subsets import accuracy_by_fraction
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts
from barlow_jax.types import FeatureTable


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.place(workdir, args), args.features)
    train, test = experiment.tables(encode)
    return {"features": args.features, "step": step, **probe(experiment, encode, train, test)}


def probe(
    experiment: Experiment, encode: features.Encode, train: FeatureTable, test: FeatureTable
) -> dict[str, Any]:
    """Accuracies in percent by the fraction of the training labels that the probe sees; broken images."""
    config = experiment.config.probe
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    # Over all training images: a deviation needs no labels, and 1 % of the rows would estimate it badly.
    scale = linear.Scaler.of(train.features, active=config.standardize)
    test = test._replace(features=scale(test.features))

    def measure(rows: np.ndarray, draw: int) -> dict[str, float]:
        if config.solver == "lbfgs":
            chosen = FeatureTable(scale(train.features[rows]), train.labels[rows])
            return logistic.probe_accuracy(
                chosen, test, config=config, num_classes=num_classes, layout=experiment.layout
            )
        return linear.probe_accuracy(
            _epochs(experiment, encode, train, rows, scale),
            test,
            config=config,
            num_train=len(rows),
            num_classes=num_classes,
            seed=draw,
        )

    return {
        "linear": accuracy_by_fraction(train.labels, config.label_fractions, config.subset_repeats, measure),
        **decode_failure_counts(train.decode_failures, test.decode_failures),
    }


def _epochs(
    experiment: Experiment,
    encode: features.Encode,
    train: FeatureTable,
    rows: np.ndarray,
    scale: linear.Scaler,
) -> Callable[[int], Iterable[FeatureTable]]:
    """Batches of features by epoch: of the evaluation crop, or of a new random crop each time."""
    config, seed = experiment.config, experiment.config.seed
    if not config.probe.augment:
        chosen = FeatureTable(scale(train.features[rows]), train.labels[rows])
        return linear.table_batches(chosen, config.probe.batch_size, seed)
    source = splits.open_split(config.data, config.data.train_split)
    images_alone = dataclasses.replace(config.data, caption_words=0)
    views = {"probe": classifier_view(config.recipe.views["a"])}
    sampler = EpochSampler(seed, len(rows), min(config.probe.batch_size, len(rows)))
    crop = None
    if config.data.augment_on == "device":
        make = experiment.augment(Recipe(views))
        crop = jax.jit(lambda images: make(images)["probe"], out_shardings=experiment.layout.batch)

    def epoch_batches(epoch: int) -> Iterable[FeatureTable]:
        first_step = epoch * sampler.steps_per_epoch
        sample_range = SampleRange(
            sampler, first_step, first_step + sampler.steps_per_epoch, experiment.shard, train.index[rows]
        )
        for batch in source.train_batches(images_alone, views, sample_range):
            table = features.encode_batch(encode, batch, experiment.layout, crop)
            yield FeatureTable(scale(table.features), table.labels)

    return epoch_batches
