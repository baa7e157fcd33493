"""Progress of a pass over images: a progress bar on a terminal, a log line every ten seconds elsewhere."""

from collections.abc import Iterable, Iterator
import sys
import time
from typing import Any

import jax
import tqdm

from barlow_jax.io import log

_INTERVAL_S = 10.0  # between log lines


def show_progress(batches: Iterable[Any], *, num_images: int, batch_size: int) -> Iterator[Any]:
    """Yield the batches and show the progress on process 0; a batch is done when the next one is requested.

    Args:
      batches: batches of the pass; the last one may be padded.
      num_images: images in all batches.
      batch_size: images per global batch.
    """
    terminal = sys.stderr.isatty()
    hidden = jax.process_index() != 0 or not terminal
    start = logged = time.monotonic()
    with tqdm.tqdm(total=num_images, unit="image", file=sys.stderr, disable=hidden, smoothing=0.05) as bar:
        for number, batch in enumerate(batches, 1):
            yield batch
            done, now = min(number * batch_size, num_images), time.monotonic()
            bar.update(done - bar.n)
            if not terminal and (done == num_images or now - logged >= _INTERVAL_S):
                logged, rate = now, done / max(now - start, 1e-9)
                left = tqdm.tqdm.format_interval((num_images - done) / rate)
                log.info(f"{done}/{num_images} images  {rate:.0f} images/s  {left} left")
