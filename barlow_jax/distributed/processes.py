"""One run as several processes: how they find each other, and how all of them end when one does.

`jax.distributed` aborts a process (SIGABRT, from a thread of C++) when another one stops sending
heartbeats. No handler in Python runs then, so a small helper, the witness, holds what is to be said.
A process that fails by an exception must not wait for the others, which wait for it: `conclude`.
"""

import argparse
from collections.abc import Callable
import dataclasses
import os
import subprocess
import sys
import threading
import traceback
from typing import Any

from barlow_jax.config.schema import Distributed
from barlow_jax.errors import RunError

ABORTED = 134  # as a shell reports SIGABRT; schedulers take 127 and above for "start again"
_GRACE_S = 5.0  # that a process which failed waits for the others to fail alike
# What XLA answers to a program that it cannot compile or run here; other errors of its come from outside.
_OF_THE_PROGRAM = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")
_FLAGS = ("--coordinator", "--num-processes", "--process-id")
# Prints the last line it was given once the process that gave it is gone.
_WITNESS = (
    "import sys; words = ['', *sys.stdin.read().splitlines()][-1]; words and print(words, file=sys.stderr)"
)

_witness: subprocess.Popen | None = None  # there while this process is one of several, or is to become one
_client: Any = None  # of jax.distributed, while this process is one of several


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one of several processes stands, where no cluster tells."""

    coordinator: str  # HOST:PORT at which process 0 listens
    num_processes: int
    process_id: int


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "several processes", "On TPU slices, GKE and Slurm they are found; elsewhere pass all three to each."
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0; the port must be free there")
    group.add_argument("--num-processes", metavar="N", help="how many processes there are")
    group.add_argument("--process-id", metavar="I", help="which of them this one is: 0 to N-1")


def place_of(args: argparse.Namespace) -> tuple[Place | None, list[str]]:
    """The place that the flags name, None without flags; and what is wrong with them."""
    given = {flag: getattr(args, flag[2:].replace("-", "_")) for flag in _FLAGS}
    missing = [flag for flag, value in given.items() if value is None]
    if len(missing) == len(_FLAGS):
        return None, []
    problems = [f"{flag}: is missing; {', '.join(_FLAGS)} go together" for flag in missing]
    host, _, port = (args.coordinator or "").rpartition(":")
    if args.coordinator is not None and not (host and _number(port, 1, 65535)):
        problems.append(f"--coordinator: expected HOST:PORT, such as 10.0.0.2:8476, got {args.coordinator!r}")
    count, index = args.num_processes, args.process_id
    if count is not None and not _number(count, 1):
        problems.append(f"--num-processes: expected a whole number from 1, got {count!r}")
    most = int(count) - 1 if _number(count, 1) else None
    if index is not None and not _number(index, 0, most):
        up_to = "" if most is None else f" to {most}"
        problems.append(f"--process-id: expected a whole number from 0{up_to}, got {index!r}")
    return (None, problems) if problems else (Place(args.coordinator, int(count), int(index)), [])


def join(distributed: Distributed, place: Place | None) -> None:
    """Joins the other processes, by `place` or else by detection; alone where there is neither.

    Must come before anything else uses jax's devices. Where the others do not come in time, jax aborts
    this process, after it has said so.

    Raises:
      ConnectionError: a cluster was found, or named, and cannot be joined.
    """
    import jax

    if jax.distributed.is_initialized() or not (place or distributed.detect):
        return
    _last_words(_not_found(distributed, place))
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is `preemption`'s
    where = {}
    if place:
        where = {
            "coordinator_address": place.coordinator,
            "num_processes": place.num_processes,
            "process_id": place.process_id,
            "cluster_detection_method": "deactivate",  # it would ask for what the flags leave open
        }
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=distributed.initialization_timeout_s,
            heartbeat_timeout_seconds=distributed.heartbeat_timeout_s,
            shutdown_timeout_seconds=distributed.shutdown_timeout_s,
        )
    except Exception as error:  # of jax, of the metadata server, of Kubernetes: all of the same kind to us
        _dismiss()
        if place is None and str(error) == "coordinator_address should be defined.":
            return  # no cluster was found
        alone = "" if place else "; config.distributed.detect=false runs on this host alone"
        raise ConnectionError(f"the other processes cannot be joined: {error}{alone}") from error
    if jax.process_count() == 1:
        _dismiss()
    else:
        global _client
        from jax._src import distributed as internal  # jax has no public way to its key-value store

        _client = internal.global_state.client
        _last_words(_cut_off(jax.process_index(), jax.process_count()))


def devices() -> dict[str, Any]:
    """Those of all processes, as `provenance` notes them: `kind`, `count`, `processes`."""
    import jax

    kind = jax.devices()[0].device_kind
    return {"kind": kind, "count": jax.device_count(), "processes": jax.process_count()}


def client() -> Any:
    """The key-value store that the processes share; None where this one is alone."""
    return _client


def has_key(key: str) -> bool:
    """Whether that store has the key; False where it cannot be asked, which jax itself will notice."""
    if _client is None:
        return False
    try:
        _client.key_value_try_get(key)
        return True
    except Exception:  # of jax, where it has not
        return False


def from_first(number: Callable[[], int]) -> int:
    """What `number` gives on process 0, which alone calls it; on all processes, which wait for it.

    An int32. If it raises, it raises on all of them: there what it raised, elsewhere a RunError.
    """
    import jax

    if jax.process_count() == 1:
        return number()
    from jax.experimental import multihost_utils
    import numpy as np

    failed, value = None, 0
    if jax.process_index() == 0:
        try:
            value = number()
        except Exception as error:
            failed = error
    told = np.array([failed is not None, value], np.int32)
    failed_there, value = map(int, multihost_utils.broadcast_one_to_all(told))
    if failed is not None:
        raise failed
    if failed_there:
        raise RunError("process 0 failed, and says why")
    return value


def on_any(this: bool) -> bool:
    """Whether it is so on any process; they wait for each other."""
    import jax

    if jax.process_count() == 1:
        return this
    from jax.experimental import multihost_utils
    import numpy as np

    return bool(np.any(multihost_utils.process_allgather(np.array(this))))


def conclude(program: Callable[[], int]) -> int:
    """Runs `program` and returns its exit code, when the other processes, if there are any, are done too.

    If it fails while they go on, this process ends at once and so makes them end: they would wait for
    it in a collective, and it for them in jax's shutdown.
    """
    try:
        code = program()
    except Exception as error:
        if _witness is None:
            raise
        traceback.print_exc()
        if _is_from_outside(error):
            _end(ABORTED)
        code = 1
    if _witness is not None and not _say_goodbye(None if code == 0 else _GRACE_S):
        _end(code)
    return code


def leave(code: int) -> None:
    """Ends this process at once, from any thread, when the others, if there are any, have come to the same."""
    if _client is not None:
        _say_goodbye(_GRACE_S)
    elif _witness is not None:
        _dismiss()
    _end(code)


def _say_goodbye(patience: float | None) -> bool:
    """Whether all processes have come to their end within so many seconds."""
    global _client
    import jax

    _client = None
    goodbye = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    goodbye.start()
    goodbye.join(patience)
    _dismiss()
    return not goodbye.is_alive()


def _end(code: int) -> None:
    """Ends this process without jax's shutdown, once the last words, if there are any, are said."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if _witness is not None:
        _witness.communicate()
    os._exit(code)


def _is_from_outside(error: Exception) -> bool:
    """Whether a connection or a device failed: XLA's errors begin with a status code."""
    status = str(error).partition(":")[0]
    return status.isupper() and status.isidentifier() and status not in _OF_THE_PROGRAM


def _number(text: str | None, least: int, most: int | None = None) -> bool:
    digits = text is not None and text.isascii() and text.isdecimal()
    return digits and least <= int(text) and (most is None or int(text) <= most)


def _not_found(distributed: Distributed, place: Place | None) -> str:
    what = f"error: the processes did not find each other within {distributed.initialization_timeout_s} s; "
    if place:
        return what + (
            f"start all {place.num_processes} of them, each with its own --process-id, and see that "
            f"{place.coordinator} can be reached from here and that its port was free on that host"
        )
    return what + (
        "run the same command on every host of the slice or job; --config.distributed.detect=false runs "
        "on this host alone"
    )


def _cut_off(index: int, count: int) -> str:
    return (
        f"error: process {index} of {count} ended in the middle of its work: another process died or could no "
        "longer be reached (see the lines above and the other logs), or this one was killed; run the same "
        "command on all hosts again (pretrain goes on from its newest checkpoint)"
    )


def _last_words(words: str) -> None:
    """What the witness says if this process ends from now on."""
    global _witness
    if _witness is None:
        # A session of its own: Ctrl-C at the terminal is for the program, not for its witness.
        _witness = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WITNESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    _witness.stdin.write(f"{words}\n".encode())
    _witness.stdin.flush()


def _dismiss() -> None:
    """From now on nothing is to be said."""
    global _witness
    _witness.communicate(b"\n")
    _witness = None
