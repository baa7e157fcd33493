"""Values that the processes of a run exchange."""

from collections.abc import Callable, Sequence
import itertools
import json
from typing import Any

from barlow_jax.errors import RunError

_POLL_MS = 1000  # in between, Python handles signals
_numbers = itertools.count()  # of the calls of `gather`, whose order is the same on all processes
_client: Any = None  # key-value client of jax.distributed, while this process is one of several


def set_client(client: Any) -> None:
    """Set the key-value client of `jax.distributed`, or None when the processes part."""
    global _client
    _client = client


def client() -> Any:
    """Return the client of the key-value store that the processes share; None for a single process."""
    return _client


def has_key(key: str) -> bool:
    """Return whether the key-value store has a key; False if the store does not answer, which jax reports."""
    if _client is None:
        return False
    try:
        _client.key_value_try_get(key)
        return True
    except Exception:  # jax raises if the key is missing
        return False


def call_on_first(function: Callable[[], int]) -> int:
    """Call `function` on process 0 alone and return its int32 result on all processes, which wait for it.

    Raises:
      Exception: the function failed. Process 0 raises its exception, the others a RunError.
    """
    import jax

    if jax.process_count() == 1:
        return function()
    from jax.experimental import multihost_utils
    import numpy as np

    error, value = None, 0
    if jax.process_index() == 0:
        try:
            value = function()
        except Exception as raised:
            error = raised
    sent = np.array([error is not None, value], np.int32)
    failed, value = map(int, multihost_utils.broadcast_one_to_all(sent))
    if error is not None:
        raise error
    if failed:
        raise RunError("process 0 failed; see its log for the reason")
    return value


def any_process(flag: bool) -> bool:
    """Return whether the flag is true on any process; all processes must call this, and wait."""
    import jax

    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils
    import numpy as np

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def gather(value: str) -> list[str]:
    """Return the value of each process, in their order; all processes must call this, and wait for the last.

    Nothing runs on the devices. If a process dies meanwhile, jax ends the others.
    """
    if _client is None:
        return [value]
    import jax

    key = f"barlow_jax/gather/{next(_numbers)}"
    _client.key_value_set(f"{key}/{jax.process_index()}", value)
    return [_wait_for(f"{key}/{process}") for process in range(jax.process_count())]


def all_problems(problems: Sequence[str]) -> list[str]:
    """Return the problems of all processes; those that some do not have begin with "process <index>: "."""
    by_process = [json.loads(text) for text in gather(json.dumps(list(problems)))]
    shared = [problem for problem in by_process[0] if all(problem in other for other in by_process)]
    return shared + [
        f"process {process}: {problem}"
        for process, others in enumerate(by_process)
        for problem in others
        if problem not in shared
    ]


def _wait_for(key: str) -> str:
    while True:
        try:
            return _client.blocking_key_value_get(key, _POLL_MS)
        except Exception as error:  # jax raises its own type
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
