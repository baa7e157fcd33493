"""The tf.data pipeline of one process: from the indices of a step to its batch.

    step -> indices of its rows -> encoded records -> one example per row -> partial batch -> whole batch

Only the last stage (`RowReplacer`) runs in Python: it makes the rows whose image cannot be decoded.
"""

from collections.abc import Iterator, Mapping
import os

import numpy as np
import tensorflow as tf

from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.config.schema import Data
from barlow_jax.data import host_views
from barlow_jax.data.captions import Vocabulary, sample_caption
from barlow_jax.data.decode_failures.replacement import MakeExample, PartialBatch, RowReplacer
from barlow_jax.data.decoding import decode
from barlow_jax.data.padded_images import POSITION
from barlow_jax.data.sampler import EvaluationRange, ProcessShard, SampleRange
from barlow_jax.data.sources import Source
from barlow_jax.types import Batch


def train_batches(
    source: Source,
    data: Data,
    views: Mapping[str, View],
    sample_range: SampleRange,
    vocabulary: Vocabulary | None = None,
) -> Iterator[Batch]:
    """Return this process's rows of the training batches of a range of steps.

    They depend on the sampler's seed and the step alone: each view of each image is sampled from (seed, view,
    global position), and the rows of all processes together are the global batch. With `data.augment_on`
    "device" the views are those of `barlow_jax.data.padded_images`. With a vocabulary view b is a caption.

    Another image (`SampleRange.replacements`) replaces one that cannot be decoded, which is counted in
    `source.decode_failures`.

    Raises:
      UserError: more images than `data.max_decode_failures` cannot be decoded.
    """
    views = dict(sorted(views.items()))
    seed = sample_range.sampler.seed

    def make_example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
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
            rows[SECOND_VIEW] = encode_caption(source.parse_captions(record), position)
        return Batch(rows, label, tf.cast(index, tf.int32))

    def encode_caption(captions: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        def encode(captions: np.ndarray, position: np.int64) -> np.ndarray:
            caption = sample_caption([text.decode() for text in captions], seed, int(position))
            return vocabulary.encode(caption, data.caption_words)

        ids = tf.numpy_function(encode, [captions, position], tf.int32, stateful=False)
        return tf.ensure_shape(ids, [data.caption_words])

    return make_batches(source, data, sample_range, make_example)


def eval_batches(
    source: Source, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
) -> Iterator[Batch]:
    """Return this process's rows of the evaluation crops, in the given order, the last batch padded.

    A row that pads has index -1. So has the row of an image that cannot be decoded: its pixel values are
    zeros, and it is counted in `source.decode_failures`. The batch size is that of the global batch;
    `examples` are `[n]` indices into the split, by default the whole split, of which the first one pads.

    Raises:
      UserError: more images than `data.max_decode_failures` cannot be decoded.
    """

    def make_example(record: tf.Tensor, index: tf.Tensor, is_real: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
        image = decode(encoded, data.follow_exif)
        image = host_views.evaluation_crop(
            image, resize_to=data.eval_resize, size=data.image_size, method=data.eval_interpolation
        )
        return Batch({"eval": image}, label, tf.cast(tf.where(is_real == 1, index, -1), tf.int32))

    examples = np.arange(source.num_examples) if examples is None else np.asarray(examples)
    return make_batches(source, data, EvaluationRange(examples, batch_size, shard), make_example)


def make_batches(
    source: Source, data: Data, step_range: SampleRange | EvaluationRange, make_example: MakeExample
) -> Iterator[Batch]:
    """Return a batch per step, of the rows that `make_example` makes."""
    num_rows = step_range.num_rows

    def row_indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        index, extra = step_range.batch(int(step))
        return index.astype(np.int64), extra.astype(np.int64)

    def read_step(step: tf.Tensor) -> tf.data.Dataset:
        index, extra = tf.numpy_function(row_indices, [step], (tf.int64, tf.int64), stateful=False)
        index, extra = tf.ensure_shape(index, [num_rows]), tf.ensure_shape(extra, [num_rows])
        records = tf.ensure_shape(source.fetch(index), [num_rows])

        def make_row(row: tf.Tensor, *arguments: tf.Tensor) -> PartialBatch:
            return PartialBatch(step, row, make_example(*arguments))

        rows = tf.data.Dataset.from_tensor_slices((tf.range(num_rows), records, index, extra))
        rows = rows.map(_without_autograph(make_row), num_parallel_calls=data.threads or os.cpu_count())
        # The replacer makes a failed row again; a failure that is not the image's is raised there.
        return rows.ignore_errors().batch(num_rows)

    steps = tf.data.Dataset.range(step_range.steps.start, step_range.steps.stop)
    # One step at a time; the parallel call begins the next step early.
    batches = steps.interleave(_without_autograph(read_step), cycle_length=1, num_parallel_calls=1)
    batches = batches.prefetch(data.prefetch).with_options(_options(data))
    spec = batches.element_spec.batch
    replacer = RowReplacer(source, step_range, make_example, spec, limit=data.max_decode_failures)
    return replacer.complete(batches.as_numpy_iterator())


def _options(data: Data) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.max_intra_op_parallelism = 1  # rows are made in parallel; ops that split cost more
    if data.threads:
        options.threading.private_threadpool_size = data.threads
    return options


def _without_autograph(function):
    """Return the function marked: it has no Python control flow to convert, and AutoGraph slows the start."""
    return tf.autograph.experimental.do_not_convert(function)
