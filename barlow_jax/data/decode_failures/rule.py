"""Rule for a row whose image cannot be decoded, for every reader; TensorFlow is not needed.

In training another image replaces the undecodable one, with its own label and index: the first readable one
of `SampleRange.replacements`. A grey image would be wrong with its label, and without variance an outlier in
the batch's statistics; the next image of the batch may belong to another process, and would occur twice in
the batch. In an evaluation the row is blank: zeros, and index -1.
"""

from collections.abc import Callable
from typing import TypeVar

from barlow_jax.data.decode_failures.counter import DecodeFailures
from barlow_jax.data.sampler import EvaluationRange, SampleRange
from barlow_jax.errors import UserError

T = TypeVar("T")


def find_readable(
    step_range: SampleRange | EvaluationRange,
    step: int,
    row: int,
    read: Callable[[int], tuple[T, str | None]],
    failures: DecodeFailures,
    limit: int | None,
) -> tuple[T, int] | None:
    """Return the example to make a row of a step's batch from, and its index; None for a blank row.

    `read` returns the example of an index, and the reason if it cannot be decoded, otherwise None.

    Raises:
      UserError: more images than the limit cannot be decoded, or none of the replacements can.
    """
    index, extra = (int(values[row]) for values in step_range.batch(step))
    example, reason = read(index)
    if reason is None:
        return example, index
    if isinstance(step_range, EvaluationRange):
        if extra:  # a real row
            failures.add(index, reason, step=None, limit=limit)
        return None
    failures.add(index, reason, step=step, limit=limit)
    replacements = step_range.replacements(extra).tolist()
    for replacement in replacements:
        example, reason = read(replacement)
        if reason is None:
            return example, replacement
    raise UserError(
        f"none of {len(replacements)} images sampled from the split can be decoded; "
        f"{failures.name(replacement)} {reason}"
    )
