"""One live run a workdir: a lock that the kernel releases when its process dies, however it dies."""

from collections.abc import Iterator
import contextlib
import datetime
import errno
import fcntl
import os
import pathlib
import socket
import sys
import time
from typing import IO

from barlow_jax.errors import UserError

FILE = "pretrain.lock"


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """Holds the workdir's lock. Where its file system knows none, that is said, and nothing is held.

    On a network file system it is as good as the lock of that system: gcsfuse keeps it within one host.

    Raises:
      UserError: another process holds it; says which.
    """
    path = workdir / FILE
    try:
        for wait in (0.1, 0.2, 0.4):  # out of the way of one who only looks
            file = _lock(path)
            if file is not None:
                break
            time.sleep(wait)
    except OSError as error:
        reason = error.strerror or error
        print(f"warning: {path} cannot be locked ({reason}): see that no other run uses it", file=sys.stderr)
        yield
        return
    if file is None:
        raise UserError(
            f"--workdir: another run is at work on {workdir}: {_holder(path)}; wait for its end, or stop it, or "
            "use another workdir"
        )
    with file:
        file.truncate()
        now = datetime.datetime.now(datetime.UTC)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now:%Y-%m-%d %H:%M:%S} UTC\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # of a workdir that is gone
                path.unlink(missing_ok=True)  # before it is released: who opened it meanwhile sees that


def holder(workdir: pathlib.Path) -> str | None:
    """Who holds the lock, as it says; None where nobody does so far as this host can see. Changes nothing."""
    path = workdir / FILE
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError as error:
        return _holder(path) if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None


def _lock(path: pathlib.Path) -> IO[str] | None:
    """The file, locked and empty to write to; None where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                file.seek(0)
                return file
            file.close()  # its holder was about to end, and has removed it: the next one is another file
        except OSError as error:
            file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise


def _is_at(file: IO[str], path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: pathlib.Path) -> str:
    try:
        return path.read_text().strip() or "it does not say which"
    except OSError:
        return "it does not say which"
