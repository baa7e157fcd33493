"""Batches of views from a split: the tf.data pipeline of one process."""

from collections.abc import Callable, Iterator, Mapping
import os
import re

import numpy as np
import tensorflow as tf

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import SECOND_VIEW, View
from barlow_jax.data import captions as captions_lib, views as views_lib
from barlow_jax.data.captions import Vocabulary
from barlow_jax.data.decode_failures import replacement
from barlow_jax.data.padded_images import POSITION
from barlow_jax.data.sampler import ProcessShard, SampleRange, padded
from barlow_jax.data.sources import Source
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


def train_batches(
    source: Source,
    data: config_lib.Data,
    views: Mapping[str, View],
    sample_range: SampleRange,
    vocabulary: Vocabulary | None = None,
) -> Iterator[Batch]:
    """This process's rows of the batches of a window's steps; with a vocabulary view b is a caption.

    What comes out depends on the order's seed and the step alone: each view of each image is drawn
    from (seed, view, global position), and the processes' rows, put together, are the global batch.
    With `data.augment_on` "device" the step makes the views, and gets decoded images (`barlow_jax.data.padded_images`). An image
    that cannot be decoded is counted in `source.broken`, and another one (`mending.substitute`) takes its row.

    Raises:
      UserError: the split has more such images than `data.max_decode_failures`.
    """
    views = dict(sorted(views.items()))

    def drawn(texts: np.ndarray, position: np.int64) -> np.ndarray:
        caption = captions_lib.drawn(
            [text.decode() for text in texts], sample_range.sampler.seed, int(position)
        )
        return vocabulary.ids(caption, data.caption_words)

    def ids(texts: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        words = tf.numpy_function(drawn, [texts, position], tf.int32, stateful=False)
        return tf.ensure_shape(words, [data.caption_words])

    def example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
        image = views_lib.decode(encoded)
        size = data.image_size
        seeds = [
            tf.stack([sample_range.sampler.seed * len(views) + number, position])
            for number in range(len(views))
        ]
        if data.augment_on == "device":
            made = views_lib.on_canvas(image, views, size, data.canvas, seeds)
            made[POSITION] = tf.cast(position, tf.uint32)
        else:
            each = zip(views.items(), seeds, strict=True)
            made = {name: views_lib.make_view(image, view, size, seed) for (name, view), seed in each}
        if vocabulary is not None:
            made[SECOND_VIEW] = ids(source.captions(record), position)
        return Batch(made, label, tf.cast(index, tf.int32))

    return train_steps(source, data, sample_range, example)


def train_steps(
    source: Source,
    data: config_lib.Data,
    sample_range: SampleRange,
    example: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch],
) -> Iterator[Batch]:
    """As `train_batches`, of whatever `example` makes of a record, its index and its global position."""

    def indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        index, position = sample_range.batch(int(step))
        return index.astype(np.int64), position.astype(np.int64)

    def substitute(step: int, index: int, position: int) -> tuple[tf.Tensor, int] | None:
        record, why = replacement.read(source, index)
        if why is None:
            return record, index
        source.decode_failures.add(index, why, step=step, most=data.max_decode_failures)
        return replacement.substitute(source, sample_range.stand_ins(position))

    return _run(source, data, sample_range.steps, indices, example, substitute, sample_range.num_rows)


def eval_batches(
    source: Source,
    data: config_lib.Data,
    *,
    batch_size: int,
    shard: ProcessShard,
    examples: np.ndarray | None = None,
) -> Iterator[Batch]:
    """This process's rows of the evaluation crops, in the given order, the last batch padded.

    Args:
      source: the split.
      data: sizes and threads.
      batch_size: of the global batch.
      share: of this process.
      examples: `[n]` indices into the split; all of it by default. Padding repeats the first one and
        has index -1.

    An image that cannot be decoded is neither right nor wrong: its row has index -1 too and no levels, and
    it is counted in `source.broken`.

    Raises:
      UserError: the split has more such images than `data.max_decode_failures`.
    """

    def example(record: tf.Tensor, index: tf.Tensor, real: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
        image = views_lib.evaluation_crop(
            views_lib.decode(encoded), resize=data.eval_resize, size=data.image_size
        )
        return Batch({"eval": image}, label, tf.cast(tf.where(real == 1, index, -1), tf.int32))

    return eval_steps(source, data, example, batch_size=batch_size, shard=shard, examples=examples)


def eval_steps(
    source: Source,
    data: config_lib.Data,
    example: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch],
    *,
    batch_size: int,
    shard: ProcessShard,
    examples: np.ndarray | None = None,
) -> Iterator[Batch]:
    """As `eval_batches`, of whatever `example` makes of a record, its index and 1, or of padding and 0."""
    rows = shard.rows(batch_size)
    examples = np.arange(source.num_examples) if examples is None else np.asarray(examples)
    num_steps = -(-len(examples) // batch_size)

    def indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        index, real = padded(int(step), batch_size, shard, examples)
        return index.astype(np.int64), real.astype(np.int64)

    def leave_out(step: int, index: int, real: int) -> tuple[tf.Tensor, int] | None:
        del step
        record, why = replacement.read(source, index)
        if why is None:
            return record, index
        if real:
            source.decode_failures.add(index, why, step=None, most=data.max_decode_failures)
        return None

    return _run(source, data, range(num_steps), indices, example, leave_out, rows.stop - rows.start)


def _run(
    source: Source,
    data: config_lib.Data,
    steps: range,
    indices: Callable,
    example: Callable,
    instead: Callable[[int, int, int], tuple[tf.Tensor, int] | None],
    rows: int,
) -> Iterator[Batch]:
    """Steps to batches: records a whole step at a time, then example by example.

    `instead` takes a step, the index of an example that could not be made, and what goes with the index;
    it gives the record and the index to make it from, or None for a row that is left out.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.max_intra_op_parallelism = (
        1  # examples are made in parallel, and ops that split cost more
    )
    if data.threads:
        options.threading.private_threadpool_size = data.threads

    def one(step: tf.Tensor) -> tf.data.Dataset:
        index, extra = tf.numpy_function(indices, [step], (tf.int64, tf.int64), stateful=False)
        index, extra = tf.ensure_shape(index, [rows]), tf.ensure_shape(extra, [rows])
        records = tf.ensure_shape(source.fetch(index), [rows])

        def made(row: tf.Tensor, *given: tf.Tensor) -> replacement.Part:
            return replacement.Part(step, row, example(*given))

        # A row that fails is made anew, by `remake`; what is not its image's fault fails there again.
        return (
            tf.data.Dataset.from_tensor_slices((tf.range(rows), records, index, extra))
            .map(_plain(made), num_parallel_calls=data.threads or os.cpu_count())
            .ignore_errors()
            .batch(rows)
        )

    parts = (
        tf.data.Dataset.range(steps.start, steps.stop)
        .interleave(_plain(one), cycle_length=1, num_parallel_calls=1)  # begins the next step meanwhile
        .prefetch(data.prefetch)
        .with_options(options)
    )

    made_anew = tf.function(example, autograph=False)
    blank = tf.nest.map_structure(
        lambda spec: np.zeros(spec.shape[1:], spec.dtype.as_numpy_dtype), parts.element_spec.batch
    )._replace(index=np.int32(-1))

    def remake(step: int, place: int) -> Batch:
        index, extra = (int(numbers[place]) for numbers in indices(step))
        found = instead(step, index, extra)
        if found is None:
            return blank
        record, index = found
        try:
            made = made_anew(record, tf.constant(index, tf.int64), tf.constant(extra, tf.int64))
        except tf.errors.InvalidArgumentError as error:
            refused = re.search(r"assertion failed: \[(.*?)\]", error.message)
            if refused is None:
                raise
            raise UserError(f"{source.decode_failures.name(index)} {refused[1]}") from None
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), made)

    return replacement.complete(parts.as_numpy_iterator(), steps, rows, remake)


def _plain(function):
    """The ops here have no Python control flow to convert; AutoGraph would only slow the start."""
    return tf.autograph.experimental.do_not_convert(function)
