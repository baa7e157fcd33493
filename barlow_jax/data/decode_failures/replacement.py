"""Batches made whole again: what stands in the rows whose image cannot be decoded.

An op of TensorFlow that fails ends the stream of tf.data, and there is no catching it in a graph. The
pipeline therefore drops such rows within their step (`ignore_errors` on the rows of one step, never on the
whole stream, which would shift all others), and they are made here, in Python. A batch without one costs
nothing: a guard around each image's decoder, in a data set of its own, takes 70 to 90 us an image, 7 % of
decoding ImageNet.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from barlow_jax.data import views
from barlow_jax.data.decode_failures.log import reason
from barlow_jax.data.sources import Source
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class Part(NamedTuple):
    """The rows of a step that could be made, m <= B of them."""

    step: np.ndarray  # [m], all the same
    row: np.ndarray  # [m] places in the batch, ascending
    batch: Batch  # of m rows


def complete(
    parts: Iterator[Part], steps: Iterable[int], rows: int, remake: Callable[[int, int], Batch]
) -> Iterator[Batch]:
    """A whole batch of every step.

    Args:
      parts: of the steps, in their order; a step of which no row could be made has none.
      steps: all of them.
      rows: of a whole batch.
      remake: from a step and the place of a missing row to that row, a Batch of one example.
    """
    part = None
    for step in steps:
        part = part or next(parts, None)
        if part is None or part.step[0] != step:
            yield _stack([remake(step, row) for row in range(rows)])
            continue
        missing = np.setdiff1d(np.arange(rows), part.row)
        made = [remake(step, row) for row in missing.tolist()]
        yield _fill(part, missing, made) if made else part.batch
        part = None


def _stack(rows: Sequence[Batch]) -> Batch:
    return tf.nest.map_structure(lambda *values: np.stack(values), *rows)


def _fill(part: Part, missing: np.ndarray, made: Sequence[Batch]) -> Batch:
    def together(there: np.ndarray, new: np.ndarray) -> np.ndarray:
        whole = np.empty((len(there) + len(new), *there.shape[1:]), there.dtype)
        whole[part.row], whole[missing] = there, new
        return whole

    return tf.nest.map_structure(together, part.batch, _stack(made))


def read(source: Source, index: int) -> tuple[tf.Tensor, str | None]:
    """The record of an example, and why its image cannot be decoded; None where it can.

    Raises:
      OSError: the file or the record itself cannot be read. That is the disk's or the network's fault, not
        the image's, and a run that went on without it would not repeat.
    """
    try:
        (record,) = source.fetch(tf.constant([index], tf.int64))
        encoded, _ = source.parse(record)
    except tf.errors.OpError as error:
        raise OSError(f"{source.decode_failures.name(index)} cannot be read: {error.message}") from None
    try:
        views.decode(encoded)
    except tf.errors.InvalidArgumentError:
        return record, reason(encoded.numpy())
    return record, None


def substitute(source: Source, draws: np.ndarray) -> tuple[tf.Tensor, int]:
    """The record and the index of the readable example that stands in for a broken one.

    It is the first such one of `SampleRange.stand_ins`, and brings its own label and index.
    Not a grey image, which with a label teaches a falsehood and without variance is an outlier in the batch's
    statistics; and not the next image of the batch, which may be another process's, and would stand in one
    batch twice.

    Raises:
      UserError: none of a hundred draws is readable.
    """
    for index in draws.tolist():
        record, why = read(source, index)
        if why is None:
            return record, index
    raise UserError(
        f"of {len(draws)} images drawn from the split none can be decoded; {source.decode_failures.name(index)} {why}"
    )
