"""A split of records that TensorFlow reads and decodes: any TFDS data set."""

from collections.abc import Iterator, Mapping
import itertools

import numpy as np
import tensorflow as tf

from barlow_jax.config.recipe import View
from barlow_jax.config.schema import Data
from barlow_jax.data import host_views, pipeline, sources
from barlow_jax.data.captions import Captions, Vocabulary, no_captions_error
from barlow_jax.data.decoding import decode
from barlow_jax.data.padded_images import CANVAS, SHAPE, check_fits
from barlow_jax.data.sampler import EvaluationRange, ProcessShard, SampleRange
from barlow_jax.types import Batch

_DECODE_ROWS = 64  # at a time


class RecordSplit:
    """A `splits.Split` of a `sources.Source`."""

    def __init__(self, source: sources.Source):
        """Wrap a source."""
        self._source = source
        self.num_examples, self.num_classes = source.num_examples, source.num_classes
        self.multi_label, self.decode_failures = source.multi_label, source.decode_failures
        self.class_names = source.class_names

    def identity(self) -> Iterator[bytes]:
        """Implement `Split.identity`."""
        return iter(self._source.identity())

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Implement `Split.train_batches`."""
        vocabulary = self._vocabulary(data) if data.caption_words else None
        return pipeline.train_batches(self._source, data, views, sample_range, vocabulary)

    def eval_batches(
        self, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Implement `Split.eval_batches`."""
        return pipeline.eval_batches(
            self._source, data, batch_size=batch_size, shard=shard, examples=examples
        )

    def read_content(self, index: int) -> bytes:
        """Implement `Split.read_content`."""
        try:
            (record,) = self._source.fetch(tf.constant([index], tf.int64))
            return self._source.parse(record)[0].numpy()
        except tf.errors.OpError:  # reported when the image is used
            return b""

    def read_labels(self) -> np.ndarray:
        """Implement `Split.read_labels`."""
        return sources.read_labels(self._source)

    def read_captions(self, data: Data) -> Captions:
        """Implement `Split.read_captions`."""
        vocabulary = self._vocabulary(data)
        return vocabulary.encode_all(list(sources.read_captions(self._source)), data.caption_words)

    def _vocabulary(self, data: Data) -> Vocabulary:
        if self._source.count_words is None:
            raise no_captions_error(data.name)
        return Vocabulary(self._source.count_words(), data.caption_min_count)

    def decode_all(self, data: Data) -> Batch:
        """Implement `Split.decode_all`. Every process decodes all images, and counts all decode failures."""

        def make_example(record: tf.Tensor, index: tf.Tensor, is_real: tf.Tensor) -> Batch:
            encoded, label = self._source.parse(record)
            image = decode(encoded, data.follow_exif)
            canvas = host_views.pad(image[: data.canvas, : data.canvas], 0, 0, data.canvas)
            index = tf.cast(tf.where(is_real == 1, index, -1), tf.int32)
            return Batch({CANVAS: canvas, SHAPE: tf.shape(image)[:2]}, label, index)

        step_range = EvaluationRange(np.arange(self.num_examples), _DECODE_ROWS)
        batches = pipeline.make_batches(self._source, data, step_range, make_example)
        first = next(batches)
        whole = tf.nest.map_structure(
            lambda rows: np.zeros((self.num_examples, *rows.shape[1:]), rows.dtype), first
        )
        for number, batch in enumerate(itertools.chain([first], batches)):
            for shape, index in zip(batch.views[SHAPE].tolist(), batch.index.tolist(), strict=True):
                check_fits(*shape, data.canvas, self.decode_failures.name(index))
            start = number * _DECODE_ROWS
            for array, rows in zip(*map(tf.nest.flatten, (whole, batch)), strict=True):
                array[start : start + _DECODE_ROWS] = rows[: len(array) - start]
        return whole
