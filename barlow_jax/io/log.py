"""Log messages: one line each on standard error, safe next to progress bars.

All messages go to the standard library's logger "barlow_jax", so a Python user can redirect or silence them.
By default only process 0 of a run logs; `every_process=True` is for messages that concern one host.
"""

import logging
import sys

import tqdm

_PREFIX = {logging.WARNING: "warning: ", logging.ERROR: "error: "}
_process_index = 0


class _Handler(logging.Handler):
    """Handler that writes to the current `sys.stderr`, above an active progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.tqdm.write(_PREFIX.get(record.levelno, "") + record.getMessage(), file=sys.stderr)


_logger = logging.getLogger("barlow_jax")
_logger.setLevel(logging.INFO)
_logger.propagate = False
_logger.addHandler(_Handler())


def set_process_index(index: int) -> None:
    """Set the 0-based index of this process; it decides which messages are logged here."""
    global _process_index
    _process_index = index


def info(message: str, *, every_process: bool = False) -> None:
    """Log a message without a prefix."""
    _log(logging.INFO, message, every_process)


def warning(message: str, *, every_process: bool = False) -> None:
    """Log a message that starts with "warning: "."""
    _log(logging.WARNING, message, every_process)


def error(message: str, *, every_process: bool = False) -> None:
    """Log a message that starts with "error: "."""
    _log(logging.ERROR, message, every_process)


def _log(level: int, message: str, every_process: bool) -> None:
    if every_process or _process_index == 0:
        _logger.log(level, "%s", message)
        sys.stderr.flush()
