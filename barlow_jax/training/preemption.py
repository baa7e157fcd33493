"""Graceful shutdown on SIGTERM: the run ends at a point that all its processes agree on; deferred Ctrl-C.

A thread watches for the signal: the main thread may be compiling for minutes, and Python's handlers wait for
it. Several processes agree through the key-value store of `jax.distributed`, which costs a step nothing.
jax's own service for this (`reached_preemption_sync_point`) hides the signal, and can only wait for the next
step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import os
import select
import signal
import threading
import time
from typing import Any

from barlow_jax.distributed import exchange, shutdown
from barlow_jax.io import log

EXIT_CODE = 143  # as a shell reports SIGTERM; schedulers take 127 and above for "start again"
_PATIENCE_S = 10.0  # wait for the next stop point; longer if the last two were further apart
_POLL_S = 1.0  # between checks for a signal to another process
_AGREEMENT_S = 5.0  # for the processes to agree
_KEY = "barlow_jax/preemption"
_MESSAGE = "stopped by SIGTERM: {outcome}. Run the same command again, on all hosts if there are several."

_IDLE, _STEPPING, _CLOSING = range(3)


class Finished(Exception):
    """Raised by a hook of the training loop after a step that is to be the last one."""


class Preempted(BaseException):
    """Stop after SIGTERM, with the state saved. Not an Exception, so that no handler catches it."""


class Preemption:
    """Watcher for SIGTERM, to this process or to another one of the run, while it is entered.

    Outside a run, and in one that has not passed a stop point yet, there is nothing to save: the process
    exits at once. In a run all processes stop at the same point. If that point is not reached (during a
    compilation), they exit without it.
    """

    def __init__(self):
        self._state = threading.Condition()  # held while the processes agree: no point is passed meanwhile
        self._phase, self._ended, self._received = _IDLE, False, False
        self._points, self._stop_at = 0, None
        self._newest, self._gap = 0.0, 0.0  # time of the newest point; seconds between the last two of a run
        self._inbox, self._outbox = os.pipe()
        os.set_blocking(self._outbox, False)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Preemption":
        self._thread.start()
        self._handler = self._set_handler()
        self._wakeup = signal.set_wakeup_fd(self._outbox, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: Any) -> None:
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGTERM, self._handler or signal.SIG_DFL)  # None: not Python's
        with self._state:
            self._ended = True
            self._state.notify()
        os.write(self._outbox, b"\0")
        self._thread.join()
        os.close(self._inbox)
        os.close(self._outbox)

    def _set_handler(self) -> Any:
        """Set a handler that does nothing; Python's C code writes the signal's number to the pipe at once."""
        return signal.signal(signal.SIGTERM, lambda *_: None)

    @contextlib.contextmanager
    def run_scope(self) -> Iterator[None]:
        """Enter a run: after its first stop point, the process exits only when the block is closed."""
        self._set_handler()  # again: the devices' driver, loaded by now, may have taken over the signal
        if self._received:
            raise Preempted(_MESSAGE.format(outcome="no further run starts"))
        try:
            yield
        finally:
            self._enter(_IDLE)

    def stop_point(self) -> None:
        """Pass a point at which the run can stop. Every process passes the same points in the same order.

        Raises:
          Preempted: the run stops here.
        """
        with self._state:
            self._points, now = self._points + 1, time.monotonic()
            self._gap = now - self._newest if self._phase == _STEPPING else 0.0
            self._newest = now
            stops = self._points == self._stop_at
        self._enter(_CLOSING if stops else _STEPPING)
        if stops:
            raise Preempted

    def close(self) -> None:
        """Declare that no further stop point follows."""
        self._enter(_CLOSING)

    def _enter(self, phase: int) -> None:
        with self._state:
            self._phase = phase
            self._state.notify()

    def _watch(self) -> None:
        while not (self._signalled() or exchange.has_key(f"{_KEY}/received")):
            if self._ended:
                return
        with self._state:
            self._received = True
            counts = _agree(self._points if self._phase != _IDLE else 0)
            if 0 in counts and not self._ended:
                _exit("there was nothing to save")
            self._stop_at = max(counts) + 1
            patience = max(_PATIENCE_S, 3 * self._gap)
            if not self._state.wait_for(lambda: self._phase != _STEPPING or self._ended, patience):
                _exit(f"no step ended in {patience:.0f} s; steps after the newest checkpoint are lost")

    def _signalled(self) -> bool:
        ready, _, _ = select.select([self._inbox], [], [], _POLL_S)
        return bool(ready) and signal.SIGTERM in os.read(self._inbox, 1024)


_watcher: Preemption | None = None


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Watch for SIGTERM during the block; only in the main thread, since no other may handle signals."""
    global _watcher
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with Preemption() as _watcher:
        try:
            yield
        finally:
            _watcher = None


@contextlib.contextmanager
def deferred_interrupt(active: bool = True) -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C during the block; yield a function that returns whether it was pressed.

    A second Ctrl-C raises KeyboardInterrupt. In another than the main thread, nothing changes.
    """
    pressed: list[Any] = []

    def handler(*_: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)
        log.info("interrupted: saving after this step; a second Ctrl-C stops at once, without saving")

    if not active or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)  # None: not Python's


def run_scope() -> contextlib.AbstractContextManager[None]:
    """Return `Preemption.run_scope` of the active watcher; without one, a context that does nothing."""
    return _watcher.run_scope() if _watcher else contextlib.nullcontext()


def stop_point() -> None:
    """Pass a stop point of the active watcher, if there is one."""
    if _watcher:
        _watcher.stop_point()


def with_stop_points(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, with a stop point before each."""
    for item in items:
        stop_point()
        yield item


def with_stop_point(
    hooks: Sequence[Callable[..., None]], save: Callable[[Any], None], *, last_step: int
) -> Callable[..., None]:
    """Combine the hooks of a loop into one that ends with a stop point, and saves if the run stops.

    Args:
      hooks: called in order with (updates done, state, metrics); may contain stop points of their own.
      save: starts to save the state.
      last_step: updates when the run is complete.
    """

    def hook_with_stop_point(done: int, state: Any, metrics: Any) -> None:
        try:
            for hook in hooks:
                hook(done, state, metrics)
            if done != last_step:
                stop_point()
            elif _watcher:
                _watcher.close()
        except Finished:
            if _watcher:
                _watcher.close()
            raise
        except Preempted:
            save(state)
            raise Preempted(_MESSAGE.format(outcome=f"step {done} is saved")) from None

    return hook_with_stop_point


def _agree(points: int) -> Sequence[int]:
    """Return how many points each process has passed; 0 if they cannot agree."""
    client = exchange.client()
    if client is None:
        return [points]
    import jax

    try:
        client.key_value_set(f"{_KEY}/received", "", allow_overwrite=True)
        client.key_value_set(f"{_KEY}/points/{jax.process_index()}", str(points), allow_overwrite=True)
        client.wait_at_barrier(_KEY, round(_AGREEMENT_S * 1000))
        return [int(count) for _, count in client.key_value_dir_get(f"{_KEY}/points")]
    except Exception as error:
        log.error(f"the processes cannot agree on a step to stop at: {error}", every_process=True)
        return [0]


def _exit(outcome: str) -> None:
    log.info(_MESSAGE.format(outcome=outcome), every_process=True)
    shutdown.exit_together(EXIT_CODE)
