"""Barrier at which the processes of a run wait for each other during a save, and which reports a failed one.

Orbax's own barrier ignores failures. A process whose part failed continues to the end of the save and waits
there, while the others wait for its part: ten minutes, and all of them with it at the next step. Here each
process publishes the barrier it has reached. If they disagree, the save fails on all processes.
"""

import time
from typing import Any

import jax

from barlow_jax.distributed import exchange

_KEY = "barlow_jax/save"
_POLL_S = 0.1
_WAIT_MS = 1000  # timeout of one call that waits for process 0


class FailedElsewhere(Exception):
    """The save failed on another process."""

    def __str__(self) -> str:
        return "it failed on another process; see its log for the reason"


class SaveBarrier:
    """Barrier function for Orbax, which calls it several times per save; a single process never waits."""

    def __init__(self) -> None:
        """Create the barrier; `begin` starts each save."""
        self._save, self._count, self._failed = 0, 0, False

    def begin(self) -> None:
        """Start a save, on all processes."""
        self._save, self._count, self._failed = self._save + 1, 0, False

    def fail(self) -> None:
        """Report that this process failed to save its part, even if it has reached no barrier."""
        self._failed = True
        if client := exchange.client():
            client.key_value_set(f"{_KEY}/{self._save}/failed", "", allow_overwrite=True)

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Return when all processes have reached this barrier.

        Raises:
          FailedElsewhere: a process has reached another barrier, or the save has already failed.
          TimeoutError: some process did not reach the barrier in time.
        """
        client, deadline = exchange.client(), time.monotonic() + timeout_ms / 1000
        if client is None:
            return
        save_key = f"{_KEY}/{self._save}"
        barrier, self._count = f"{save_key}/{self._count}", self._count + 1
        client.key_value_set(f"{barrier}/at/{jax.process_index()}", key, allow_overwrite=True)
        while time.monotonic() < deadline:
            if self._failed or exchange.has_key(f"{save_key}/failed"):
                self._failed = True
                raise FailedElsewhere
            if jax.process_index() > 0:
                if _appears(client, f"{barrier}/go"):
                    return
                continue
            reached = [name for _, name in client.key_value_dir_get(f"{barrier}/at")]
            if set(reached) != {key}:
                client.key_value_set(f"{save_key}/failed", "", allow_overwrite=True)
            elif len(reached) == jax.process_count():
                client.key_value_set(f"{barrier}/go", "", allow_overwrite=True)
                return
            else:
                time.sleep(_POLL_S)
        raise TimeoutError(
            f"other processes did not write their part of the save within {timeout_ms / 1000:.0f} s"
        )


def _appears(client: Any, key: str) -> bool:
    try:
        client.blocking_key_value_get(key, _WAIT_MS)
        return True
    except Exception:  # jax raises if the key does not appear in time
        return False
