"""Lock of a workdir in Google Cloud Storage: an object that its holder renews, and that expires.

Every write of the object has a precondition on its generation, so that of two processes one succeeds. An
expired lease is taken over; its former holder, if it is still alive, finds that at its next renewal. Ages
compare the store's clock with this host's, which may differ by a few seconds.
"""

from collections.abc import Callable, Iterator
import contextlib
import datetime
import os
import secrets
import socket
import threading
import time
from typing import Any, NamedTuple

from barlow_jax.errors import RunError, UserError, first_line
from barlow_jax.io import log
from barlow_jax.io.paths import Path

EXPIRES_S = 60.0  # without a renewal
_RENEW_S = 15.0
_POLL_S = 5.0  # of a process that waits for a lease to expire
_held: set[str] = set()  # tokens of the leases of this process


class Lease(NamedTuple):
    """State of the object."""

    host: str
    pid: int
    token: str  # of this holder
    since: str
    generation: int
    age_s: float  # since the last renewal

    @property
    def has_ended(self) -> bool:
        """True if it has expired, or its holder was a process of this host that has ended."""
        if self.token in _held:
            return False
        return self.age_s > EXPIRES_S or (self.host == socket.gethostname() and not _is_alive(self.pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextlib.contextmanager
def acquire(path: Path) -> Iterator[Callable[[], None]]:
    """Hold the lease during the block; yield a function that raises RunError once another process has it.

    If another process holds it, wait until that has expired.

    Raises:
      UserError: another process holds the lease and renews it.
      OSError: the store cannot be reached.
    """
    now = datetime.datetime.now(datetime.UTC)
    since, token = f"{now:%Y-%m-%d %H:%M:%S} UTC", secrets.token_hex(8)
    own = Lease(socket.gethostname(), os.getpid(), token, since, generation=0, age_s=0.0)
    blob = _blob(path)
    renewal = _Renewal(blob, path, own._replace(generation=_take(blob, path, own)))
    _held.add(own.token)
    try:
        yield renewal.check
    finally:
        renewal.close()
        _held.discard(own.token)


def holder(path: Path) -> str | None:
    """Return a description of the process that holds the lease, or None; change nothing."""
    lease = _read(_blob(path))
    return None if lease is None or lease.has_ended else str(lease)


def _take(blob: Any, path: Path, own: Lease) -> int:
    """Create or take over the lease; return its generation."""
    first = None
    while True:
        lease = _read(blob)
        if lease is None or lease.has_ended:
            if lease is not None:
                log.warning(f"taking over {path} of {lease}, which has ended or does not renew it")
            if generation := _write(blob, own, lease.generation if lease else 0):
                return generation
            continue  # another process was faster
        first = first or lease
        if lease.generation != first.generation:
            raise UserError(
                f"--workdir: another run is using {path.parent}: {lease}. Wait until it ends, stop it, "
                "or use another workdir."
            )
        if lease is first:
            log.info(f"waiting for {path} of {lease} to expire or to be renewed")
        time.sleep(_POLL_S)


class _Renewal:
    """Thread that renews a lease."""

    def __init__(self, blob: Any, path: Path, own: Lease):
        self._blob, self._path, self._own = blob, path, own
        self._lost, self._ended = False, threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._ended.wait(_RENEW_S):
            try:
                generation = _write(self._blob, self._own, self._own.generation)
                if not generation and (lease := _read(self._blob)) is None:  # someone removed it
                    generation = _write(self._blob, self._own, 0)
                elif not generation and lease.token == self._own.token:  # an earlier answer was lost
                    generation = lease.generation
            except OSError:
                continue  # it is still this process's if nobody takes it meanwhile
            self._lost = not generation
            if self._lost:
                return
            self._own = self._own._replace(generation=generation)

    def check(self) -> None:
        """Raise RunError if another process has taken over the lease."""
        if self._lost:
            raise RunError(
                f"{self._path} was taken over by another run, since it had not been renewed for "
                f"{EXPIRES_S:.0f} s. This run stops, and writes nothing more."
            )

    def close(self) -> None:
        """Stop the thread, and remove the object if it is still this process's."""
        self._ended.set()
        self._thread.join()
        if not self._lost:
            with contextlib.suppress(OSError), _os_errors():  # then it expires
                self._blob.delete(if_generation_match=self._own.generation)


def _is_alive(pid: int) -> bool:
    """Return whether another process of this host has a process id."""
    if pid == os.getpid():  # of an earlier container with the same host name
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raise errors of the client library as OSError."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    import requests

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise OSError(f"Google Cloud Storage: {first_line(error)}") from error


def _blob(path: Path) -> Any:
    from google.cloud import storage

    bucket, _, name = path.path.partition("/")
    with _os_errors():
        return storage.Client(project=None).bucket(bucket).blob(name)


def _read(blob: Any) -> Lease | None:
    with _os_errors():
        found = blob.bucket.get_blob(blob.name)
    if found is None:
        return None
    fields, age = found.metadata or {}, datetime.datetime.now(datetime.UTC) - found.updated
    host, token, since = (fields.get(name, "unknown") for name in ("host", "token", "since"))
    return Lease(host, int(fields.get("pid", 0)), token, since, found.generation, age.total_seconds())


def _write(blob: Any, lease: Lease, generation: int) -> int:
    """Write the object if it has this generation, 0 if it is missing; return the new one, or 0 if not."""
    from google.api_core.exceptions import PreconditionFailed

    blob.metadata = {name: str(getattr(lease, name)) for name in ("host", "pid", "token", "since")}
    with _os_errors():
        try:
            blob.upload_from_string(f"{lease}\n", if_generation_match=generation)
        except PreconditionFailed:
            return 0
    return blob.generation
