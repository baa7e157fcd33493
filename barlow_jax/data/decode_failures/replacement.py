"""Completion of batches: the rows whose image cannot be decoded are replaced, or left blank in an evaluation.

A TensorFlow op that fails ends the tf.data stream, and a graph cannot catch the error. The pipeline therefore
drops such rows within their step (`ignore_errors` on the rows of one step, never on the whole stream, which
would shift all later rows), and `RowReplacer` makes them in Python. A batch without a failure costs nothing
extra; a guard around each image's decoder, in a data set of its own, would take 70 to 90 us per image, 7 % of
decoding ImageNet.
"""

from collections.abc import Callable, Iterator, Sequence
import functools
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from barlow_jax.data.decode_failures.rule import find_readable
from barlow_jax.data.decoding import decode
from barlow_jax.data.image_formats import failure_reason
from barlow_jax.data.sampler import EvaluationRange, SampleRange
from barlow_jax.data.sources import Source
from barlow_jax.errors import UserError
from barlow_jax.types import Batch

# From a record, its index in the split, and its global position (training) or 1 for a real row and 0 for
# padding (evaluation), to a Batch of one example without a batch axis.
MakeExample = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch]


class PartialBatch(NamedTuple):
    """The m <= B rows of a step whose images could be decoded."""

    step: np.ndarray  # [m], all equal
    row: np.ndarray  # [m] row numbers in the batch, ascending
    batch: Batch  # of m rows


class RowReplacer:
    """Completes the partial batches of a pipeline (`rule`), and counts the images that cannot be decoded."""

    def __init__(
        self,
        source: Source,
        step_range: SampleRange | EvaluationRange,
        make_example: MakeExample,
        spec: Batch,
        limit: int | None,
    ):
        """Create a replacer for one pipeline; `spec` is that of a partial batch, as `tf.TensorSpec`s."""
        self._source, self._step_range, self._limit = source, step_range, limit
        self._make_example = tf.function(make_example, autograph=False)
        blank = tf.nest.map_structure(lambda rows: np.zeros(rows.shape[1:], rows.dtype.as_numpy_dtype), spec)
        self._blank = blank._replace(index=np.int32(-1))

    def complete(self, partial_batches: Iterator[PartialBatch]) -> Iterator[Batch]:
        """Yield the whole batch of every step; the partial ones are in order, none for a step without a row.

        Raises:
          UserError: more images than the limit cannot be decoded, or none of the replacements can.
        """
        num_rows, partial = self._step_range.num_rows, None
        for step in self._step_range.steps:
            partial = partial or next(partial_batches, None)
            if partial is None or partial.step[0] != step:
                yield _stack([self._make_row(step, row) for row in range(num_rows)])
                continue
            missing = np.setdiff1d(np.arange(num_rows), partial.row)
            rows = [self._make_row(step, row) for row in missing.tolist()]
            yield _merge(partial, missing, rows) if rows else partial.batch
            partial = None

    def _make_row(self, step: int, row: int) -> Batch:
        source = self._source
        readable = find_readable(
            self._step_range, step, row, functools.partial(_read, source), source.decode_failures, self._limit
        )
        if readable is None:
            return self._blank
        record, index = readable
        extra = int(self._step_range.batch(step)[1][row])
        try:
            # An image that can be decoded failed for another cause, which this raises.
            example = self._make_example(record, tf.constant(index, tf.int64), tf.constant(extra, tf.int64))
        except tf.errors.InvalidArgumentError as error:
            failed_assertion = re.search(r"assertion failed: \[(.*?)\]", error.message)
            if failed_assertion is None:
                raise
            raise UserError(f"{source.decode_failures.name(index)} {failed_assertion[1]}") from None
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), example)


def _read(source: Source, index: int) -> tuple[tf.Tensor, str | None]:
    """Return the record of an example, and the reason if its image cannot be decoded, otherwise None.

    Raises:
      OSError: reading fails. The cause is the disk or the network, not the image, and a run that continued
        without it would not be reproducible.
    """
    try:
        (record,) = source.fetch(tf.constant([index], tf.int64))
        encoded, _ = source.parse(record)
    except tf.errors.OpError as error:
        raise OSError(f"{source.decode_failures.name(index)} cannot be read: {error.message}") from None
    try:
        decode(encoded)
    except tf.errors.InvalidArgumentError:
        return record, failure_reason(encoded.numpy(), pillow_only=True)
    return record, None


def _stack(rows: Sequence[Batch]) -> Batch:
    return tf.nest.map_structure(lambda *values: np.stack(values), *rows)


def _merge(partial: PartialBatch, missing: np.ndarray, rows: Sequence[Batch]) -> Batch:
    """Insert `rows` at the row numbers `missing`."""

    def merge(existing: np.ndarray, new: np.ndarray) -> np.ndarray:
        whole = np.empty((len(existing) + len(new), *existing.shape[1:]), existing.dtype)
        whole[partial.row], whole[missing] = existing, new
        return whole

    return tf.nest.map_structure(merge, partial.batch, _stack(rows))
