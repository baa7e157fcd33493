"""The input pipeline cut off after each stage, for `bench input`."""

from collections.abc import Callable, Iterator
import dataclasses
from functools import partial
import itertools

import tensorflow as tf

from barlow_jax.config.recipe import View, geometric
from barlow_jax.config.schema import Config
from barlow_jax.data import pipeline
from barlow_jax.data.decode_failures.replacement import MakeExample
from barlow_jax.data.decoding import decode
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.data.sources import Source
from barlow_jax.types import Batch

# From a number of steps to their batches.
Stage = Callable[[int], Iterator[Batch]]


def make_stages(config: Config, source: Source, sampler: EpochSampler) -> dict[str, Stage]:
    """Return the pipeline cut off after each stage, by its name.

    All stages read; all but `read` decode. Then `canvas` pads, which is the host's whole work with
    `augment_on` "device"; `geometry` makes the views' crops and flips; `color` makes the finished views.
    """

    def read_example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        del position
        image, label = source.parse(record)
        return Batch({"bytes": tf.strings.length(image)}, label, tf.cast(index, tf.int32))

    def decode_example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        del position
        encoded, label = source.parse(record)
        image = decode(encoded, config.data.follow_exif)
        return Batch({"pixels": tf.size(image)}, label, tf.cast(index, tf.int32))

    def examples(make_example: MakeExample, num_steps: int) -> Iterator[Batch]:
        return pipeline.make_batches(source, config.data, SampleRange(sampler, 0, num_steps), make_example)

    def views(augment_on: str, views: dict[str, View], num_steps: int) -> Iterator[Batch]:
        data = dataclasses.replace(config.data, augment_on=augment_on)
        return pipeline.train_batches(source, data, views, SampleRange(sampler, 0, num_steps))

    all_ops = dict(config.recipe.views)
    return {
        "read": partial(examples, read_example),
        "decode": partial(examples, decode_example),
        "canvas": partial(views, "device", all_ops),
        "geometry": partial(views, "host", {name: geometric(view) for name, view in all_ops.items()}),
        "color": partial(views, "host", all_ops),
    }


def read_encoded(source: Source, number: int) -> Iterator[bytes]:
    """Yield `number` encoded images one by one, from the start of the split, repeated as needed.

    Files that cannot be opened are skipped.
    """
    indices = itertools.cycle(range(source.num_examples))
    readable = (index for index in indices if source.unreadable_reason(index) is None)
    for index in itertools.islice(readable, number):
        (record,) = source.fetch(tf.constant([index], tf.int64))
        yield source.parse(record)[0].numpy()
