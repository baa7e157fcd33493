"""A split of a TFDS data set, and its tf.data pipeline: from the indices of a step to its batch.

    step -> indices of its rows -> encoded records -> one example per row -> partial batch -> whole batch

Only the last stage runs in Python: it makes the rows whose image cannot be decoded. A TensorFlow op that
fails ends the tf.data stream, and a graph cannot catch the error. The pipeline therefore drops such rows
within their step (`ignore_errors` on the rows of one step, never on the whole stream, which would shift all
later rows). A batch without a failure costs nothing extra; a guard around each image's decoder, in a data set
of its own, would take 70 to 90 us per image, 7 % of decoding ImageNet.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.config.schema import Data
from barlow_jax.data import host_views
from barlow_jax.data.captions import Captions, Vocabulary, load_or_count, no_captions_error, sample_caption
from barlow_jax.data.decode_failures import find_readable
from barlow_jax.data.decoding import decode
from barlow_jax.data.image_formats import failure_reason
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE, check_fits
from barlow_jax.data.sampler import EvaluationRange, ProcessShard, SampleRange
from barlow_jax.data.tfds_records import Records
from barlow_jax.errors import UserError
from barlow_jax.io import processors
from barlow_jax.types import Batch

_DECODE_ROWS = 64  # at a time
# From a record, its index in the split, and its global position (training) or 1 for a real row and 0 for
# padding (evaluation), to a Batch of one example without a batch axis.
MakeExample = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch]
# Marks a function without Python control flow to convert: AutoGraph slows the start.
_without_autograph = tf.autograph.experimental.do_not_convert


class PartialBatch(NamedTuple):
    """The m <= B rows of a step whose images could be decoded."""

    step: np.ndarray  # [m], all equal
    row: np.ndarray  # [m] row numbers in the batch, ascending
    batch: Batch  # of m rows


class RecordSplit(Records):
    """A `splits.Split` of a TFDS data set."""

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Implement `Split.train_batches`: views are sampled from (seed, view, global position)."""
        views, seed = dict(sorted(views.items())), sample_range.sampler.seed
        vocabulary = self._vocabulary(data) if data.caption_words else None

        def make_example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
            encoded, label = self.parse(record)
            image = decode(encoded, data.follow_exif)
            seeds = [tf.stack([seed * len(views) + number, position]) for number in range(len(views))]
            if data.augment_on == "device":
                rows = host_views.pad_or_crop(image, views, data.image_size, data.canvas, seeds)
                rows[POSITION] = tf.cast(position, tf.uint32)
            else:
                rows = {
                    name: host_views.make_view(image, view, data.image_size, view_seed)
                    for (name, view), view_seed in zip(views.items(), seeds, strict=True)
                }
            if vocabulary is not None:
                captions = self.deserialize(record)["captions"]["text"]
                ids = tf.numpy_function(encode_caption, [captions, position], tf.int32, stateful=False)
                rows[SECOND_VIEW] = tf.ensure_shape(ids, [data.caption_words])
            return Batch(rows, label, tf.cast(index, tf.int32))

        def encode_caption(captions: np.ndarray, position: np.int64) -> np.ndarray:
            caption = sample_caption([text.decode() for text in captions], seed, int(position))
            return vocabulary.encode(caption, data.caption_words)

        return self._batches(data, sample_range, make_example)

    def eval_batches(
        self, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Implement `Split.eval_batches`."""

        def make_views(image: tf.Tensor) -> dict[str, tf.Tensor]:
            crop = host_views.evaluation_crop(
                image, resize_to=data.eval_resize, size=data.image_size, method=data.eval_interpolation
            )
            return {"eval": crop}

        examples = np.arange(self.num_examples) if examples is None else np.asarray(examples)
        return self._in_order(data, EvaluationRange(examples, batch_size, shard), make_views)

    def decode_all(self, data: Data) -> Batch:
        """Implement `Split.decode_all`. Every process decodes all images, and counts all decode failures."""

        def make_views(image: tf.Tensor) -> dict[str, tf.Tensor]:
            canvas = host_views.pad(image[: data.canvas, : data.canvas], 0, 0, data.canvas)
            return {CANVAS: canvas, SHAPE: tf.shape(image)[:2]}

        def allocate(rows: np.ndarray) -> np.ndarray:
            return np.zeros((self.num_examples, *rows.shape[1:]), rows.dtype)

        step_range, whole = EvaluationRange(np.arange(self.num_examples), _DECODE_ROWS), None
        for number, batch in enumerate(self._in_order(data, step_range, make_views)):
            whole = whole or tf.nest.map_structure(allocate, batch)
            for shape, index in zip(batch.views[SHAPE].tolist(), batch.index.tolist(), strict=True):
                check_fits(*shape, data.canvas, self.decode_failures.name(index))
            start = number * _DECODE_ROWS
            for array, rows in zip(*map(tf.nest.flatten, (whole, batch)), strict=True):
                array[start : start + _DECODE_ROWS] = rows[: len(array) - start]
        return whole

    def _in_order(
        self,
        data: Data,
        step_range: EvaluationRange,
        make_views: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
    ) -> Iterator[Batch]:
        """Return the batches of a range, without augmentation; rows that pad have index -1."""

        def make_example(record: tf.Tensor, index: tf.Tensor, is_real: tf.Tensor) -> Batch:
            encoded, label = self.parse(record)
            views = make_views(decode(encoded, data.follow_exif))
            return Batch(views, label, tf.cast(tf.where(is_real == 1, index, -1), tf.int32))

        return self._batches(data, step_range, make_example)

    def read_captions(self, data: Data) -> Captions:
        """Implement `Split.read_captions`."""
        return self._vocabulary(data).encode_all(list(self.captions()), data.caption_words)

    def _vocabulary(self, data: Data) -> Vocabulary:
        if not self.has_captions:
            raise no_captions_error(data.name)

        def read() -> Iterator[list[str]]:
            if self._split == data.train_split:
                return self.captions()
            return Records(dataclasses.replace(data, cache="none"), data.train_split).captions()

        counts = load_or_count(self._builder.data_path, data.train_split, read)
        return Vocabulary(counts, data.caption_min_count)

    def _batches(
        self, data: Data, step_range: SampleRange | EvaluationRange, make_example: MakeExample
    ) -> Iterator[Batch]:
        """Yield the batch of each step, of the rows that `make_example` makes.

        A row whose image cannot be decoded is replaced or left blank (`decode_failures`).
        """
        if not step_range.steps:
            return
        num_rows = len(step_range.batch(step_range.steps[0])[0])
        dataset = self._partial_batches(data, step_range, make_example, num_rows)
        blank = tf.nest.map_structure(
            lambda spec: np.zeros(spec.shape[1:], spec.dtype.as_numpy_dtype), dataset.element_spec.batch
        )._replace(index=np.int32(-1))
        make_alone = tf.function(make_example, autograph=False)

        def make_row(step: int, row: int) -> Batch:
            failures, limit = self.decode_failures, data.max_decode_failures
            readable = find_readable(step_range, step, row, self._read_decodable, failures, limit)
            if readable is None:
                return blank
            record, index = readable
            extra = int(step_range.batch(step)[1][row])
            try:
                # An image that can be decoded failed for another cause, which this raises.
                example = make_alone(record, tf.constant(index, tf.int64), tf.constant(extra, tf.int64))
            except tf.errors.InvalidArgumentError as error:
                failed_assertion = re.search(r"assertion failed: \[(.*?)\]", error.message)
                if failed_assertion is None:
                    raise
                raise UserError(f"{failures.name(index)} {failed_assertion[1]}") from None
            return tf.nest.map_structure(lambda tensor: tensor.numpy(), example)

        # In the order of the steps; none for a step without a row.
        partial_batches, partial = dataset.as_numpy_iterator(), None
        for step in step_range.steps:
            partial = partial or next(partial_batches, None)
            if partial is None or partial.step[0] != step:
                yield _stack([make_row(step, row) for row in range(num_rows)])
                continue
            missing = np.setdiff1d(np.arange(num_rows), partial.row)
            rows = [make_row(step, row) for row in missing.tolist()]
            yield _merge(partial, missing, rows) if rows else partial.batch
            partial = None

    def _partial_batches(
        self, data: Data, step_range: SampleRange | EvaluationRange, make_example: MakeExample, num_rows: int
    ) -> tf.data.Dataset:
        def row_indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
            index, extra = step_range.batch(int(step))
            return index.astype(np.int64), extra.astype(np.int64)

        @_without_autograph
        def read_step(step: tf.Tensor) -> tf.data.Dataset:
            index, extra = tf.numpy_function(row_indices, [step], (tf.int64, tf.int64), stateful=False)
            index, extra = tf.ensure_shape(index, [num_rows]), tf.ensure_shape(extra, [num_rows])
            records = tf.ensure_shape(self.fetch(index), [num_rows])

            @_without_autograph
            def make_row(row: tf.Tensor, *arguments: tf.Tensor) -> PartialBatch:
                return PartialBatch(step, row, make_example(*arguments))

            rows = tf.data.Dataset.from_tensor_slices((tf.range(num_rows), records, index, extra))
            rows = rows.map(make_row, num_parallel_calls=data.threads or processors.available())
            # `_batches` makes a failed row again; a failure that is not the image's is raised there.
            return rows.ignore_errors().batch(num_rows)

        steps = tf.data.Dataset.range(step_range.steps.start, step_range.steps.stop)
        # One step at a time; the parallel call begins the next step early.
        batches = steps.interleave(read_step, cycle_length=1, num_parallel_calls=1)
        return batches.prefetch(data.prefetch).with_options(_options(data))

    def _read_decodable(self, index: int) -> tuple[tf.Tensor, str | None]:
        """Return the record of an example, and the reason if its image cannot be decoded, otherwise None.

        Raises:
          OSError: reading fails. The cause is the disk or the network, not the image, and a run that
            continued without it would not be reproducible.
        """
        try:
            (record,) = self.fetch(tf.constant([index], tf.int64))
            encoded, _ = self.parse(record)
        except tf.errors.OpError as error:
            raise OSError(f"{self.decode_failures.name(index)} cannot be read: {error.message}") from None
        try:
            decode(encoded)
        except tf.errors.InvalidArgumentError:
            return record, failure_reason(encoded.numpy(), pillow_only=True)
        return record, None


def _options(data: Data) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.max_intra_op_parallelism = 1  # rows are made in parallel; ops that split cost more
    if data.threads:
        options.threading.private_threadpool_size = data.threads
    return options


def _stack(rows: Sequence[Batch]) -> Batch:
    return tf.nest.map_structure(lambda *values: np.stack(values), *rows)


def _merge(partial: PartialBatch, missing: np.ndarray, rows: Sequence[Batch]) -> Batch:
    """Insert `rows` at the row numbers `missing`."""
    order = np.argsort([*partial.row, *missing])
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts)[order], partial.batch, _stack(rows))
