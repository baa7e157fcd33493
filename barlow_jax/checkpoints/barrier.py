"""Where the processes of a run wait for each other's part of a save; one whose part failed lets the others go.

Orbax's own barrier knows nothing of failures. A process whose part failed goes on to the end of the save, and waits there,
while the others wait for its part: ten minutes, and all of them with it at the next step. Here all say which barrier they
have come to, and where that is not the same one, the save has failed for all.
"""

import time
from typing import Any

import jax

from barlow_jax.distributed import exchange

_KEY = "barlow_jax/save"
_POLL_S = 0.1
_PATIENCE_MS = 1000  # of one call that waits for process 0


class FailedElsewhere(Exception):
    """The save failed on another process."""

    def __str__(self) -> str:
        return "it failed on another process, which says why"


class SaveBarrier:
    """What Orbax calls for each of its barriers, one after the other; nothing to one process alone."""

    def __init__(self) -> None:
        self._save, self._count, self._failed = 0, 0, False

    def begin(self) -> None:
        """A save starts, on all processes alike."""
        self._save, self._count, self._failed = self._save + 1, 0, False

    def fail(self) -> None:
        """This process cannot go on with the save, and may have come to no barrier."""
        self._failed = True
        if client := exchange.client():
            client.key_value_set(f"{_KEY}/{self._save}/failed", "", allow_overwrite=True)

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Returns when all processes have come to it.

        Raises:
          FailedElsewhere: one of them has come to another one, or the save has failed before.
          TimeoutError: they have not come in time.
        """
        client, deadline = exchange.client(), time.monotonic() + timeout_ms / 1000
        if client is None:
            return
        place = f"{_KEY}/{self._save}"
        here, self._count = f"{place}/{self._count}", self._count + 1
        client.key_value_set(f"{here}/at/{jax.process_index()}", key, allow_overwrite=True)
        while time.monotonic() < deadline:
            if self._failed or exchange.has_key(f"{place}/failed"):
                self._failed = True
                raise FailedElsewhere
            if jax.process_index() > 0:
                if _comes(client, f"{here}/go"):
                    return
                continue
            at = [where for _, where in client.key_value_dir_get(f"{here}/at")]
            if set(at) != {key}:
                client.key_value_set(f"{place}/failed", "", allow_overwrite=True)
            elif len(at) == jax.process_count():
                client.key_value_set(f"{here}/go", "", allow_overwrite=True)
                return
            else:
                time.sleep(_POLL_S)
        raise TimeoutError(
            f"other processes had not written their part of the save in {timeout_ms / 1000:.0f} s"
        )


def _comes(client: Any, key: str) -> bool:
    try:
        client.blocking_key_value_get(key, _PATIENCE_MS)
        return True
    except Exception:  # of jax: not yet
        return False
