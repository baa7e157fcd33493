"""Prefetching of batches to the devices, and the time that the devices wait for data."""

from collections.abc import Callable, Iterator
import queue
import threading
import time
from typing import Any

import jax

from barlow_jax.types import Batch

_POLL_S = 0.002


class DevicePrefetcher:
    """Source of batches on the devices; a thread keeps `ahead` of them ready while a step runs.

    Attributes:
      wait_s: seconds so far in which the devices were idle because no batch was ready.
    """

    def __init__(self, batches: Iterator[Batch], to_devices: Callable[[Batch], Batch], ahead: int = 2):
        self.wait_s = 0.0
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(batches, to_devices), daemon=True)
        self._thread.start()

    def next(self, running: Any = None) -> Batch:
        """Return the next batch; `running` is an output of the step under way, or None before the first."""
        idle_since = None
        while True:
            try:
                batch = self._queue.get(timeout=_POLL_S)
                break
            except queue.Empty:
                if idle_since is None and (running is None or running.is_ready()):
                    idle_since = time.monotonic()
        if idle_since is not None:
            self.wait_s += time.monotonic() - idle_since
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        """Stop the thread, and drop the batches that are ready."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _fill(self, batches: Iterator[Batch], to_devices: Callable[[Batch], Batch]) -> None:
        try:
            for batch in batches:
                if not self._put(jax.block_until_ready(to_devices(batch))):
                    return
            self._put(RuntimeError("the data ended before the run did"))
        except BaseException as error:  # raised again by `next`
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
