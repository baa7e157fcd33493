"""A split whose decoded images live on the devices: of a step's images the host says only the numbers."""

from collections.abc import Callable, Iterator
import os
from typing import NamedTuple

import jax
import numpy as np

from barlow_jax.data.padded_images import POSITION
from barlow_jax.data.sampler import SampleRange
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class Rows(NamedTuple):
    """What a step is told of its images by the host."""

    index: np.ndarray  # [B] int32
    position: np.ndarray  # [B] uint32 global positions


class DeviceDataset:
    """All N examples of a split, whole on every device."""

    def __init__(self, decoded: Batch, layout: Layout):
        """Args:
        decoded: the N examples as host arrays (`splits.Split.decoded`), alike in all processes; an index of
          -1 marks those that are broken, and `take` must not be asked for.
        layout: of the devices.
        """
        self._broken = decoded.index < 0
        self._layout = layout
        self._table = layout.copy((decoded.views, decoded.labels))
        # Every device looks its rows up in its own copy: no collective.
        self._gather = jax.jit(
            _gather, in_shardings=(layout.replicated, layout.batch), out_shardings=layout.batch
        )

    def rows(self, sample_range: SampleRange, decode_failures: Callable[[int, int], None]) -> Iterator[Rows]:
        """This process's rows, `[B / processes]`, of a window's steps.

        As in a stream of batches, another image stands in for a broken one: `SampleRange.replacements`.

        Args:
          window: over all N examples.
          broken: is told of each broken image and the step that it was met in.

        Raises:
          UserError: all that may stand in for an image are broken.
        """
        for step in sample_range.steps:
            index, position = sample_range.batch(step)
            index = index.astype(np.int32)
            for row in np.flatnonzero(self._broken[index]):
                decode_failures(int(index[row]), step)
                index[row] = self._stand_in(sample_range.replacements(int(position[row])))
            yield Rows(index, position.astype(np.uint32))

    def _stand_in(self, draws: np.ndarray) -> int:
        readable = draws[~self._broken[draws]]
        if not len(readable):
            raise UserError(f"of {len(draws)} images drawn from the split none can be decoded")
        return int(readable[0])

    def take(self, rows: Rows) -> Batch:
        """The batch, by rows on the devices, of this process's rows of it."""
        return self._gather(self._table, self._layout.shard(rows))


def refuse_too_large(num_images: int, canvas: int) -> None:
    """Before anything is decoded.

    Raises:
      UserError: `[num_images, canvas, canvas, 3]` levels exceed a device's or this host's memory.
    """
    needed = num_images * canvas * canvas * 3
    stats = jax.local_devices()[0].memory_stats() or {}  # a CPU says nothing
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name, limit in (("a device", stats.get("bytes_limit", host)), ("this host", host)):
        if needed > limit:
            raise UserError(
                f"config.data.cache: {num_images} decoded images of {canvas} x {canvas} pixels are "
                f"{needed / 1e9:.1f} GB, and {name} has {limit / 1e9:.1f} GB; set config.data.canvas to the pixels "
                "of the largest image, or config.data.cache to encoded or none"
            )


def _gather(table: tuple, rows: Rows) -> Batch:
    views, labels = jax.tree.map(lambda examples: examples[rows.index], table)
    return Batch({**views, POSITION: rows.position}, labels, rows.index)
