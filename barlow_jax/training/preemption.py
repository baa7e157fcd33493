"""SIGTERM: who takes a machine away says so first. The run ends at a point that all its processes agree on.

A thread does the watching: the main thread may be compiling for minutes, and Python's handlers wait for it.
Several processes agree through the key-value store of `jax.distributed`, which costs a step nothing. jax's own
service for that (`reached_preemption_sync_point`) keeps the signal to itself, and can only wait for the next step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import os
import select
import signal
import sys
import threading
import time
from typing import Any

from barlow_jax.distributed import exchange, shutdown

EXIT_CODE = 143  # as a shell reports SIGTERM; schedulers take 127 and above for "start again"
_PATIENCE_S = 10.0  # that the next point may take; longer where the last two were further apart
_POLL_S = 1.0  # between looks at whether another process was told to stop
_AGREEMENT_S = 5.0  # that the processes may take to agree
_KEY = "barlow_jax/preemption"
_TOLD = "told to stop (SIGTERM): {what}; run the same command again, on all hosts if there are several"

_IDLE, _STEPPING, _CLOSING = range(3)


class Preempted(BaseException):
    """The program was told to stop, and has saved what it had. No error, so `except Exception` does not catch it."""


class Preemption:
    """Watches for SIGTERM, to this process or to another one of the run, while it is entered.

    Outside a run, and in one that has not passed a point yet, nothing is to be saved: the process leaves at once.
    In a run all processes stop at the same point. Where that does not come (a compilation), they leave without it.
    """

    def __init__(self):
        self._state = threading.Condition()  # held while the processes agree: no point is passed meanwhile
        self._phase, self._ended, self._told = _IDLE, False, False
        self._points, self._stop_at = 0, None
        self._newest, self._gap = 0.0, 0.0  # time of the newest point; seconds between the last two of a run
        self._inbox, self._outbox = os.pipe()
        os.set_blocking(self._outbox, False)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Preemption":
        self._thread.start()
        self._handler = self._listen()
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

    def _listen(self) -> Any:
        """Python's part of the handler does nothing; C's part writes the signal's number to the pipe at once."""
        return signal.signal(signal.SIGTERM, lambda *_: None)

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """What is closed within the block is waited for, however long it takes."""
        self._listen()  # again: by now the devices' driver is loaded, and may have taken the signal for itself
        if self._told:
            raise Preempted(_TOLD.format(what="no further run is started"))
        try:
            yield
        finally:
            self._enter(_IDLE)

    def point(self) -> None:
        """A place to stop at. Every process passes the same ones in the same order.

        Raises:
          Preempted: this is the one.
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
        """No point comes any more."""
        self._enter(_CLOSING)

    def _enter(self, phase: int) -> None:
        with self._state:
            self._phase = phase
            self._state.notify()

    def _watch(self) -> None:
        while not (self._received() or exchange.has_key(f"{_KEY}/told")):
            if self._ended:
                return
        with self._state:
            self._told = True
            counts = _agree(self._points if self._phase != _IDLE else 0)
            if 0 in counts and not self._ended:
                _leave("nothing was to be saved")
            self._stop_at = max(counts) + 1
            patience = max(_PATIENCE_S, 3 * self._gap)
            if not self._state.wait_for(lambda: self._phase != _STEPPING or self._ended, patience):
                _leave(
                    f"no step ended within {patience:.0f} s, and what came after the newest checkpoint is lost"
                )

    def _received(self) -> bool:
        ready, _, _ = select.select([self._inbox], [], [], _POLL_S)
        return bool(ready) and signal.SIGTERM in os.read(self._inbox, 1024)


_watching: Preemption | None = None


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Watches while the block runs; in the main thread alone, since no other may handle signals."""
    global _watching
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with Preemption() as _watching:
        try:
            yield
        finally:
            _watching = None


def run() -> contextlib.AbstractContextManager[None]:
    """The block of a run: from its first point on, it is not left before what is saved in it is whole."""
    return _watching.run() if _watching else contextlib.nullcontext()


def point() -> None:
    """`Preemption.point` of the one that watches, if one does."""
    if _watching:
        _watching.point()


def heeded(items: Iterable[Any]) -> Iterator[Any]:
    """The same items, a point before each."""
    for item in items:
        point()
        yield item


def saving(
    hooks: Sequence[Callable[..., None]], save: Callable[[Any], None], *, last: int
) -> Callable[..., None]:
    """The hooks of a loop as one, with a point at its end; where one is the point to stop at, `save(state)`.

    Args:
      hooks: called in order with (updates done, state, metrics); may have points of their own.
      save: starts to save the state.
      last: updates when the run is done.
    """

    def all_of_them(done: int, state: Any, metrics: Any) -> None:
        try:
            for hook in hooks:
                hook(done, state, metrics)
            if done == last:
                if _watching:
                    _watching.close()
            else:
                point()
        except Preempted:
            save(state)
            raise Preempted(_TOLD.format(what=f"step {done} is saved")) from None

    return all_of_them


def _agree(points: int) -> Sequence[int]:
    """How many points each process has passed; 0 as soon as they cannot agree."""
    client = exchange.client()
    if client is None:
        return [points]
    import jax

    try:
        client.key_value_set(f"{_KEY}/told", "", allow_overwrite=True)
        client.key_value_set(f"{_KEY}/points/{jax.process_index()}", str(points), allow_overwrite=True)
        client.wait_at_barrier(_KEY, round(_AGREEMENT_S * 1000))
        return [int(count) for _, count in client.key_value_dir_get(f"{_KEY}/points")]
    except Exception as error:
        print(f"the processes cannot agree on a step to stop at: {error}", file=sys.stderr)
        return [0]


def _leave(what: str) -> None:
    print(_TOLD.format(what=what), file=sys.stderr, flush=True)
    shutdown.exit_together(EXIT_CODE)
