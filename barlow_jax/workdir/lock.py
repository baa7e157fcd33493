"""Lock of a workdir, so that only one run uses it; the kernel releases it when its process ends in any way.

On a network file system the lock is as reliable as that system's: gcsfuse keeps it within one host. The
package filelock has no read-only query of the holder, which `status` needs on a running workdir, and leaves
the file behind.
"""

from collections.abc import Callable, Iterator
import contextlib
import datetime
import errno
import fcntl
import os
import socket
import time
from typing import IO

from barlow_jax.errors import UserError
from barlow_jax.io import log, paths
from barlow_jax.io.paths import Path
from barlow_jax.workdir import lease

FILE = "pretrain.lock"
_HELD_ERRORS = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def acquire(workdir: Path) -> Iterator[Callable[[], None]]:
    """Hold a workdir's lock during the block; on a file system without locks, only log a warning.

    Yields a function that raises RunError once another run has taken over the workdir: see `lease`.

    Raises:
        UserError: another process holds the lock; the message names it.
    """
    path = workdir / FILE
    if paths.is_url(workdir):
        with lease.acquire(path) as check:
            yield check
        return
    try:
        for wait_s in (0.1, 0.2, 0.4):  # `holder` in another process holds it for a moment
            file = _lock(path)
            if file is not None:
                break
            time.sleep(wait_s)
    except OSError as error:
        reason = error.strerror or error
        log.warning(f"{path} cannot be locked ({reason}); make sure that no other run uses {workdir}")
        yield lambda: None
        return
    if file is None:
        raise UserError(
            f"--workdir: another run is using {workdir}: {_description(path)}. Wait until it ends, stop it, "
            "or use another workdir."
        )
    with file:
        file.truncate()
        now = datetime.datetime.now(datetime.UTC)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now:%Y-%m-%d %H:%M:%S} UTC\n")
        file.flush()
        try:
            yield lambda: None
        finally:
            with contextlib.suppress(OSError):  # the workdir may be missing
                path.unlink(missing_ok=True)  # before the release: `_lock` detects a file opened meanwhile


def holder(workdir: Path) -> str | None:
    """Return a description of the process that holds the lock, or None; change nothing."""
    path = workdir / FILE
    if paths.is_url(workdir):
        return lease.holder(path)
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError as error:
        return _description(path) if error.errno in _HELD_ERRORS else None


def _lock(path: Path) -> IO[str] | None:
    """Open and lock the file, ready to be rewritten; return None if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.seek(0)
                    return file
            file.close()  # its previous holder has removed it; try again with a new file
        except OSError as error:
            file.close()
            if error.errno in _HELD_ERRORS:
                return None
            raise


def _description(path: Path) -> str:
    try:
        return path.read_text().strip() or "an unnamed process"
    except OSError:
        return "an unnamed process"
