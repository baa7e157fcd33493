"""Batches on their way to the devices: placed one ahead, and the time that the devices starve measured."""

from collections.abc import Callable, Iterator
import queue
import threading
import time
from typing import Any

import jax

from barlow_jax.types import Batch

_POLL_S = 0.002


class DevicePrefetcher:
    """Iterates placed batches; a thread keeps `ahead` of them ready while a step runs.

    `waited` sums the seconds in which the devices had nothing to do and no batch was there.
    """

    def __init__(self, batches: Iterator[Batch], place: Callable[[Batch], Batch], ahead: int = 2):
        self.waited = 0.0
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(batches, place), daemon=True)
        self._thread.start()

    def next(self, running: Any = None) -> Batch:
        """The next batch; `running` is an output of the step under way, or None before the first."""
        idle_since = None
        while True:
            try:
                batch = self._queue.get(timeout=_POLL_S)
                break
            except queue.Empty:
                if idle_since is None and (running is None or running.is_ready()):
                    idle_since = time.monotonic()
        if idle_since is not None:
            self.waited += time.monotonic() - idle_since
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def close(self) -> None:
        """Stops the thread; what it had ready is dropped."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _fill(self, batches: Iterator[Batch], place: Callable[[Batch], Batch]) -> None:
        try:
            for batch in batches:
                if not self._put(jax.block_until_ready(place(batch))):
                    return
            self._put(RuntimeError("the data ended before the run did"))
        except BaseException as error:  # the reader raises it
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
