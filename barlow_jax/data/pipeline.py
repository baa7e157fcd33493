"""Batches of views from a split: the tf.data pipeline of one process."""

from collections.abc import Iterator, Mapping
import dataclasses

import numpy as np
import tensorflow as tf

from barlow_jax import config as config_lib
from barlow_jax.data import views as views_lib
from barlow_jax.data.sources import Source
from barlow_jax.order import Order
from barlow_jax.recipe import View, geometric
from barlow_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class Share:
    """Which rows of every global batch this process reads."""

    process: int = 0
    processes: int = 1

    def rows(self, batch_size: int) -> slice:
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} does not divide over {self.processes} processes")
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


def train_batches(
    source: Source,
    data: config_lib.Data,
    views: Mapping[str, View],
    order: Order,
    *,
    first_step: int,
    num_steps: int,
    share: Share,
    examples: np.ndarray | None = None,
) -> Iterator[Batch]:
    """This process's rows of the batches of steps `first_step` to `num_steps - 1`.

    What comes out depends on the order's seed and the step alone: each view of each image is drawn
    from (seed, view, global position), and the processes' rows, put together, are the global batch.
    The order runs over `examples`, `[n]` indices into the split, or over all of it. With `data.augment_on`
    "device" the views are cropped, rotated and flipped, and their colors left to the step.
    """
    if data.augment_on == "device":
        views = {name: geometric(view) for name, view in views.items()}
    rows = share.rows(order.batch_size)

    def indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        index, position = order.batch(int(step))
        index = index if examples is None else examples[index]
        return index[rows].astype(np.int64), position[rows].astype(np.int64)

    def example(record: tf.Tensor, index: tf.Tensor, position: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
        image = views_lib.decode(encoded)
        made = {
            name: views_lib.make_view(
                image, view, data.image_size, tf.stack([order.seed * len(views) + number, position])
            )
            for number, (name, view) in enumerate(sorted(views.items()))
        }
        return Batch(made, label, tf.cast(index, tf.int32))

    steps = tf.data.Dataset.range(first_step, num_steps)
    return _run(source, data, steps, indices, example, rows.stop - rows.start)


def eval_batches(
    source: Source,
    data: config_lib.Data,
    *,
    batch_size: int,
    share: Share,
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
    """
    rows = share.rows(batch_size)
    examples = np.arange(source.num_examples) if examples is None else np.asarray(examples)
    num_steps = -(-len(examples) // batch_size)

    def indices(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        place = (int(step) * batch_size + np.arange(batch_size))[rows]
        real = place < len(examples)
        return examples[np.where(real, place, 0)].astype(np.int64), real.astype(np.int64)

    def example(record: tf.Tensor, index: tf.Tensor, real: tf.Tensor) -> Batch:
        encoded, label = source.parse(record)
        image = views_lib.evaluation_crop(
            views_lib.decode(encoded), resize=data.eval_resize, size=data.image_size
        )
        return Batch({"eval": image}, label, tf.cast(tf.where(real == 1, index, -1), tf.int32))

    return _run(source, data, tf.data.Dataset.range(num_steps), indices, example, rows.stop - rows.start)


def _run(source, data, steps, indices, example, rows) -> Iterator[Batch]:
    """Steps to batches: indices and records a whole batch at a time, then example by example."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    if data.threads:
        options.threading.private_threadpool_size = data.threads

    def records(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        index, extra = tf.numpy_function(indices, [step], (tf.int64, tf.int64), stateful=False)
        index, extra = tf.ensure_shape(index, [rows]), tf.ensure_shape(extra, [rows])
        return tf.ensure_shape(source.fetch(index), [rows]), index, extra

    batches = (
        steps.map(_plain(records))
        .unbatch()
        .map(_plain(example), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(rows, drop_remainder=True)
        .prefetch(data.prefetch)
        .with_options(options)
    )
    return batches.as_numpy_iterator()


def _plain(function):
    """The ops here have no Python control flow to convert; AutoGraph would only slow the start."""
    return tf.autograph.experimental.do_not_convert(function)
