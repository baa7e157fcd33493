"""How far a pass through images is: a progress bar on a terminal, a plain line now and then elsewhere."""

from collections.abc import Iterable, Iterator
import sys
import time
from typing import Any

import jax
import tqdm

_EVERY_S = 10.0  # between plain lines


def watched(batches: Iterable[Any], *, num_images: int, batch_size: int) -> Iterator[Any]:
    """The batches as they come; a batch is done when the next one is asked for. Process 0 alone says so.

    Args:
      batches: the last one may be padded.
      num_images: of all of them.
      batch_size: of the global batch.
    """
    shown, terminal = jax.process_index() == 0, sys.stderr.isatty()
    start = said = time.monotonic()
    with tqdm.tqdm(
        total=num_images, unit="image", file=sys.stderr, disable=not (shown and terminal), smoothing=0.05
    ) as bar:
        for number, batch in enumerate(batches, 1):
            yield batch
            done, now = min(number * batch_size, num_images), time.monotonic()
            bar.update(done - bar.n)
            if shown and not terminal and (done == num_images or now - said >= _EVERY_S):
                said, rate = now, done / max(now - start, 1e-9)
                left = tqdm.tqdm.format_interval((num_images - done) / rate)
                line = f"{done}/{num_images} images  {rate:.0f} images/s  {left} left"
                print(line, file=sys.stderr, flush=True)
