"""Work in a thread of its own, so that a bucket's latency and failures hold up no training step."""

from collections.abc import Callable
import threading


class Background:
    """Thread that calls a function after each request, at most once per interval."""

    def __init__(self, work: Callable[[], None], interval_s: float):
        """Start the thread; `work` handles its own errors, and covers all requests made before its call."""
        self._work, self._interval_s = work, interval_s
        self._requested, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        is_last = False
        while not is_last:
            self._requested.wait()
            is_last = self._closing.is_set()
            self._requested.clear()
            self._work()
            self._closing.wait(self._interval_s)

    def request(self) -> None:
        """Have the function called soon."""
        self._requested.set()

    def close(self, timeout_s: float) -> bool:
        """Have the function called a last time, and wait for that; return whether it was done in time."""
        self._closing.set()
        self._requested.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
