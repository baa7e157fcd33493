"""The input pipeline cut off after each stage, for `bench input`: what comes out is counted and dropped."""

from collections.abc import Callable, Iterator
import dataclasses
from functools import partial

import numpy as np
import tensorflow as tf

from barlow_jax.config.recipe import View, geometric
from barlow_jax.config.schema import Config
from barlow_jax.data import pipeline, views as views_lib
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.data.sources import Source
from barlow_jax.types import Batch

# A number of steps to their batches.
Stage = Callable[[int], Iterator[Batch]]


def make(config: Config, source: Source, sampler: EpochSampler) -> dict[str, Stage]:
    """Read; and decode; then canvas, all that `augment_on` "device" needs of the host, or geometry (the views' crops
    and flips) and color.
    """

    def encoded(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        del position
        image, label = source.parse(record)
        return Batch({"bytes": tf.strings.length(image)}, label, tf.cast(index, tf.int32))

    def decoded(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        del position
        image, label = source.parse(record)
        return Batch({"levels": tf.size(views_lib.decode(image))}, label, tf.cast(index, tf.int32))

    def until(example: Callable, num_steps: int) -> Iterator[Batch]:
        return pipeline.train_steps(source, config.data, SampleRange(sampler, 0, num_steps), example)

    def views(place: str, made: dict[str, View], num_steps: int) -> Iterator[Batch]:
        data = dataclasses.replace(config.data, augment_on=place)
        return pipeline.train_batches(source, data, made, SampleRange(sampler, 0, num_steps))

    whole = dict(config.recipe.views)
    return {
        "read": partial(until, encoded),
        "decode": partial(until, decoded),
        "canvas": partial(views, "device", whole),
        "geometry": partial(views, "host", {name: geometric(view) for name, view in whole.items()}),
        "color": partial(views, "host", whole),
    }


def read_encoded(source: Source, number: int) -> Iterator[bytes]:
    """So many encoded images, one after the other, from the start of the split and over again."""
    for index in np.arange(number) % source.num_examples:
        (record,) = source.fetch(tf.constant([index], tf.int64))
        yield source.parse(record)[0].numpy()
