"""Message that appears on standard error if this process dies, however it dies.

`jax.distributed` aborts a process (SIGABRT, from a C++ thread) when another one stops sending heartbeats. No
Python handler runs then, so a small helper process holds the message and prints it when this one is gone.
"""

import subprocess
import sys

# Prints the last line that it received, once its parent has died.
_HELPER = "import sys; line = ['', *sys.stdin.read().splitlines()][-1]; line and print(line, file=sys.stderr)"

_process: subprocess.Popen | None = None  # exists while this process is one of several, or is joining them


def is_set() -> bool:
    """Return whether a message is set."""
    return _process is not None


def set_message(message: str) -> None:
    """Set or replace the message; it has one line."""
    global _process
    if _process is None:
        # In its own session, because Ctrl-C at the terminal must not reach the helper.
        _process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HELPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    _process.stdin.write(f"{message}\n".encode(errors="backslashreplace"))
    _process.stdin.flush()


def clear() -> None:
    """Remove the message."""
    global _process
    _process.communicate(b"\n")
    _process = None


def print_now() -> None:
    """Print the message, if one is set, and wait until it is printed; this process is about to exit."""
    if _process is not None:
        _process.communicate()
