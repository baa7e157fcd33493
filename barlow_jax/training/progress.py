"""Progress bars, on a terminal and in notebooks; elsewhere the progress is logged."""

from collections.abc import Iterable, Iterator
import sys
import time
from typing import Any
import warnings

import jax
import tqdm

from barlow_jax.io import log

_INTERVAL_S = 10.0  # between log lines


def progress_bar(**options: Any) -> tuple[tqdm.tqdm, bool]:
    """Return a progress bar of process 0, and whether it is visible: on a terminal and in a notebook.

    In a notebook it is a widget if ipywidgets is installed, else text.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    visible, kind = sys.stderr.isatty(), tqdm.tqdm
    if "IPKernelApp" in getattr(shell, "config", ()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ipywidgets may be missing
            from tqdm import auto
        kind = auto.tqdm
        visible = True
    hidden = jax.process_index() != 0 or not visible
    return kind(**options, file=sys.stderr, disable=hidden), visible


def show_progress(batches: Iterable[Any], *, num_images: int, batch_size: int) -> Iterator[Any]:
    """Yield the batches and show the progress on process 0; a batch is done when the next one is requested.

    Args:
      batches: batches of the pass; the last one may be padded.
      num_images: images in all batches.
      batch_size: images per global batch.
    """
    start = logged = time.monotonic()
    bar, visible = progress_bar(total=num_images, unit="image", smoothing=0.05)
    with bar:
        for number, batch in enumerate(batches, 1):
            yield batch
            done, now = min(number * batch_size, num_images), time.monotonic()
            bar.update(done - bar.n)
            if not visible and (done == num_images or now - logged >= _INTERVAL_S):
                logged, rate = now, done / max(now - start, 1e-9)
                left = tqdm.tqdm.format_interval((num_images - done) / rate)
                log.info(f"{done}/{num_images} images  {rate:.0f} images/s  {left} left")
