"""Cache of a split's decoded images on the devices; for each step the host sends only indices."""

from collections.abc import Callable, Iterator
import os
from typing import Any, NamedTuple

import jax
import numpy as np

from barlow_jax.data.padded_images import POSITION
from barlow_jax.data.sampler import SampleRange
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class Rows(NamedTuple):
    """Rows of a batch, as the host sends them."""

    index: np.ndarray  # type: ignore[assignment]  # [B] int32 indices in the split
    position: np.ndarray  # [B] uint32 positions in the run


class DeviceDataset:
    """All N examples of a split, whole on every device."""

    def __init__(self, decoded: Batch, layout: Layout):
        """Copy the N decoded examples, host arrays that are equal on all processes, to the devices.

        An index of -1 marks an image that could not be decoded; it must not be passed to `take`.
        """
        self._failed = decoded.index < 0
        self._layout = layout
        self._examples = layout.copy((decoded.views, decoded.labels))
        # Every device reads from its own copy: no collective.
        self._gather = jax.jit(
            _gather, in_shardings=(layout.replicated, layout.batch), out_shardings=layout.batch
        )

    def rows(self, sample_range: SampleRange, decode_failures: Callable[[int, int], None]) -> Iterator[Rows]:
        """Yield this process's rows, `[B / processes]`, of each step.

        An image that cannot be decoded is replaced as in the host's pipeline, by `SampleRange.replacements`;
        `decode_failures` is called with its index and the step.

        Raises:
          UserError: no replacement of an image can be decoded either.
        """
        for step in sample_range.steps:
            index, position = sample_range.batch(step)
            index = index.astype(np.int32)
            for row in np.flatnonzero(self._failed[index]):
                decode_failures(int(index[row]), step)
                index[row] = self._replacement(sample_range.replacements(int(position[row])))
            yield Rows(index, position.astype(np.uint32))

    def _replacement(self, candidates: np.ndarray) -> int:
        decodable = candidates[~self._failed[candidates]]
        if not len(decodable):
            raise UserError(f"None of {len(candidates)} images drawn from the split can be decoded.")
        return int(decodable[0])

    def take(self, rows: Rows) -> Batch:
        """Return the global batch on the devices, from this process's rows."""
        return self._gather(self._examples, self._layout.shard(rows))


def check_size(num_images: int, canvas: int, bytes_per_pixel: int = 3) -> None:
    """Check before decoding that a split fits into memory.

    Raises:
      UserError: `[num_images, canvas, canvas, C]` pixel values exceed the memory of a device or of this host.
    """
    needed = num_images * canvas * canvas * bytes_per_pixel
    stats = jax.local_devices()[0].memory_stats() or {}  # None on a CPU
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name, limit in (("a device", stats.get("bytes_limit", host)), ("this host", host)):
        if needed > limit:
            raise UserError(
                f"config.data.cache is decoded, but {num_images} images of {canvas} x {canvas} pixels need "
                f"{needed / 1e9:.1f} GB, and {name} has {limit / 1e9:.1f} GB. Set config.data.canvas to the "
                "size of the largest image in pixels, or config.data.cache to encoded or none."
            )


def _gather(examples: tuple, rows: Any) -> Batch:
    views, labels = jax.tree.map(lambda array: array[rows.index], examples)
    return Batch({**views, POSITION: rows.position}, labels, rows.index)
