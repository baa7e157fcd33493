"""A process that holds the lock of a workdir until it is killed."""

from collections.abc import Iterator
import contextlib
import subprocess
import sys
from typing import Any

_HOLD_UNTIL_STDIN_CLOSES = """
import sys
from barlow_jax.io.paths import Path
from barlow_jax.workdir import lock
with lock.acquire(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def hold(workdir: Any) -> Iterator[subprocess.Popen]:
    """Hold the lock during the block; yield the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD_UNTIL_STDIN_CLOSES, str(workdir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()
