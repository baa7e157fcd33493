"""End of a process that is one of several: all of them end when one does.

A process that fails must not wait for the others in jax's shutdown, because they wait for it in a collective.
`jax.distributed` aborts a process (SIGABRT, from a C++ thread) when another one stops sending heartbeats. No
Python handler runs then, so a small helper process holds an exit message and prints it on standard error when
this one is gone.
"""

from collections.abc import Callable
import os
import subprocess
import sys
import threading
import traceback

from barlow_jax.distributed import exchange

ABORTED = 134  # exit code as a shell reports SIGABRT; schedulers restart a job whose code is 127 or more
_GRACE_S = 5.0  # a failed process waits this long for the others to fail too
# Status codes of XLA errors caused by the program itself; other codes report a failed connection or device.
_PROGRAM_ERRORS = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")
# Prints the last line that it received, once its parent has died.
_HELPER = "import sys; line = ['', *sys.stdin.read().splitlines()][-1]; line and print(line, file=sys.stderr)"
_helper: subprocess.Popen | None = None  # exists while this process is one of several, or is joining them


def set_exit_message(message: str) -> None:
    """Set or replace the message, of one line, that appears if this process dies, however it dies."""
    global _helper
    if _helper is None:
        # In its own session, because Ctrl-C at the terminal must not reach the helper.
        _helper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HELPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    _helper.stdin.write(f"{message}\n".encode(errors="backslashreplace"))
    _helper.stdin.flush()


def clear_exit_message() -> None:
    """Remove the message."""
    global _helper
    _helper.communicate(b"\n")
    _helper = None


def run_to_exit(program: Callable[[], int]) -> int:
    """Run `program` and return its exit code, once the other processes, if any, are done too.

    If the program fails while the others are still running, this process exits immediately, which ends them.
    """
    try:
        code = program()
    except Exception as error:
        if _helper is None:
            raise
        traceback.print_exc()
        if _is_external(error):
            _exit(ABORTED)
        code = 1
    if _helper is not None and not _disconnect(None if code == 0 else _GRACE_S):
        _exit(code)
    return code


def exit_together(code: int) -> None:
    """Exit from any thread, after waiting a few seconds for the other processes, if any, to do the same."""
    if exchange.client() is not None:
        _disconnect(_GRACE_S)
    elif _helper is not None:
        clear_exit_message()
    _exit(code)


def _disconnect(timeout_s: float | None) -> bool:
    """Shut jax.distributed down; return whether all processes did so within the timeout."""
    import jax

    exchange.set_client(None)
    thread = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    thread.start()
    thread.join(timeout_s)
    clear_exit_message()
    return not thread.is_alive()


def _exit(code: int) -> None:
    """Exit without jax's own shutdown, after printing the exit message if one is set."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if _helper is not None:
        _helper.communicate()
    os._exit(code)


def _is_external(error: Exception) -> bool:
    """Return whether a connection or a device failed: such an XLA error begins with a status code."""
    status = str(error).partition(":")[0]
    return status.isupper() and status.isidentifier() and status not in _PROGRAM_ERRORS
