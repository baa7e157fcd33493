"""A split of records or files that TensorFlow reads and decodes: whatever TFDS prepared, and folders."""

from collections.abc import Iterator, Mapping
import itertools

import numpy as np
import tensorflow as tf

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import View
from barlow_jax.data import pipeline, sources, views as views_lib
from barlow_jax.data.captions import Captions, Vocabulary, none_of
from barlow_jax.data.padded_images import CANVAS, SHAPE
from barlow_jax.data.sampler import ProcessShard, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.types import Batch

_ROWS = 64  # that are decoded at a time


class Records:
    """The wing's functions as a `splits.Split`."""

    def __init__(self, source: sources.Source):
        self._source = source
        self.num_examples, self.num_classes = source.num_examples, source.num_classes
        self.multi_label, self.decode_failures = source.multi_label, source.decode_failures

    def train_batches(
        self, data: config_lib.Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        vocabulary = self._vocabulary(data) if data.caption_words else None
        return pipeline.train_batches(self._source, data, views, sample_range, vocabulary)

    def eval_batches(
        self,
        data: config_lib.Data,
        *,
        batch_size: int,
        shard: ProcessShard,
        examples: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        return pipeline.eval_batches(
            self._source, data, batch_size=batch_size, shard=shard, examples=examples
        )

    def read_labels(self) -> np.ndarray:
        return sources.read_labels(self._source)

    def read_captions(self, data: config_lib.Data) -> Captions:
        vocabulary = self._vocabulary(data)
        return vocabulary.all_ids(list(sources.read_captions(self._source)), data.caption_words)

    def _vocabulary(self, data: config_lib.Data) -> Vocabulary:
        if self._source.counted is None:
            raise none_of(data.name)
        return Vocabulary(self._source.counted(), data.caption_min_count)

    def decoded(self, data: config_lib.Data) -> Batch:
        """All are decoded by this process, so all broken ones are named and counted by it, before a step."""

        def example(record: tf.Tensor, index: tf.Tensor, real: tf.Tensor) -> Batch:
            encoded, label = self._source.parse(record)
            image = views_lib.decode(encoded)
            canvas = views_lib.pad(image[: data.canvas, : data.canvas], 0, 0, data.canvas)
            index = tf.cast(tf.where(real == 1, index, -1), tf.int32)
            return Batch({CANVAS: canvas, SHAPE: tf.shape(image)[:2]}, label, index)

        batches = pipeline.eval_steps(self._source, data, example, batch_size=_ROWS, shard=ProcessShard())
        first = next(batches)
        whole = tf.nest.map_structure(
            lambda rows: np.zeros((self.num_examples, *rows.shape[1:]), rows.dtype), first
        )
        for number, batch in enumerate(itertools.chain([first], batches)):
            self._refuse_larger(batch, data.canvas)
            start = number * _ROWS
            for table, rows in zip(*map(tf.nest.flatten, (whole, batch)), strict=True):
                table[start : start + _ROWS] = rows[: len(table) - start]
        return whole

    def _refuse_larger(self, batch: Batch, canvas: int) -> None:
        for (height, width), index in zip(batch.views[SHAPE].tolist(), batch.index.tolist(), strict=True):
            if max(height, width) > canvas:
                raise UserError(
                    f"config.data.canvas: {self.decode_failures.name(index)} has {height} x {width} pixels, which do not "
                    f"fit into {canvas} x {canvas}, and config.data.cache=decoded keeps whole images; set "
                    f"config.data.canvas to {max(height, width)} or more"
                )
