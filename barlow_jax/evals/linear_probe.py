"""Linear probe: a linear classifier on frozen features, for each configured fraction of the labels."""

from collections.abc import Callable, Iterable
import dataclasses
from functools import partial

import jax
import numpy as np

from barlow_jax.augment.views import augment
from barlow_jax.config.recipe import Recipe, classifier_view
from barlow_jax.config.schema import Config
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.distributed import same_data
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import features, linear_lbfgs, linear_sgd
from barlow_jax.evals.accuracy import accuracy_by_fraction
from barlow_jax.papers.scores import Score
from barlow_jax.types import FeatureTable


def probe(
    config: Config, layout: Layout, encode: features.Encode, train: FeatureTable, test: FeatureTable
) -> list[Score]:
    """Train and test the linear classifier of `config.probe` for each fraction of the labels.

    The tables hold the features of both splits of `config.data`; `encode` is called only for `probe.augment`.
    """
    settings = config.probe
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    # From all training images: the scale needs no labels, and 1 % of the rows would estimate it badly.
    scale = linear_sgd.standardizer(train.features, active=settings.standardize)
    test = test._replace(features=scale(test.features))

    def measure(rows: np.ndarray, seed: int) -> dict[str, float]:
        def subset() -> FeatureTable:
            return FeatureTable(scale(train.features[rows]), train.labels[rows])

        options = {"config": settings, "num_classes": num_classes}
        if settings.solver == "lbfgs":
            return linear_lbfgs.train_and_test(subset(), test, layout=layout, **options)
        if settings.augment:
            batches = _augmented_batches(config, layout, encode, train.index[rows], scale)
        else:
            batches = linear_sgd.table_batches(subset(), settings.batch_size, config.seed)
        return linear_sgd.train_and_test(batches, test, num_train=len(rows), seed=seed, **options)

    results = accuracy_by_fraction(train.labels, settings.label_fractions, settings.subset_repeats, measure)
    measured_on = (config.data.name, config.data.eval_split, len(test.labels))
    return [
        Score("probe", "linear", metric, value, *measured_on, fraction, repeats)
        for fraction, repeats, values in results
        for metric, value in values.items()
    ]


def _augmented_batches(
    config: Config, layout: Layout, encode: features.Encode, examples: np.ndarray, scale: Callable
) -> linear_sgd.Batches:
    """Return batches of scaled features of new random crops of the given training examples."""
    source = same_data.open_split(config.data, config.data.train_split)
    data = dataclasses.replace(config.data, caption_words=0)
    views = {"probe": classifier_view(config.recipe.views["a"])}
    sampler = EpochSampler(config.seed, len(examples), min(config.probe.batch_size, len(examples)))
    shard = ProcessShard(jax.process_index(), jax.process_count())
    crop = None
    if config.data.augment_on == "device":
        make_views = partial(augment, recipe=Recipe(views), size=config.data.image_size, seed=config.seed)
        crop = jax.jit(lambda images: make_views(images)["probe"], out_shardings=layout.batch)

    def epoch_batches(epoch: int) -> Iterable[FeatureTable]:
        first_step = epoch * sampler.steps_per_epoch
        steps = SampleRange(sampler, first_step, first_step + sampler.steps_per_epoch, shard, examples)
        for batch in source.train_batches(data, views, steps):
            table = features.encode_batch(encode, batch, layout, crop)
            yield FeatureTable(scale(table.features), table.labels)

    return epoch_batches
