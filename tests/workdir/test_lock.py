"""Lock of a workdir, against processes that hold it, end and are killed."""

import errno
import fcntl
import os
import signal
import socket
import threading

import lock_holder
import pytest

from barlow_jax.errors import UserError
from barlow_jax.workdir import lock


@pytest.fixture
def holder(tmp_path):
    with lock_holder.hold(tmp_path) as process:
        yield process


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path, holder):
    with pytest.raises(UserError) as error, lock.acquire(tmp_path):
        pass
    logged = str(error.value)
    assert (
        f"process {holder.pid} on {socket.gethostname()}, since 2" in logged
        and "use another workdir" in logged
    )


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_the_lock_is_free_after_its_holder_ends_in_any_way(tmp_path, holder, how):
    if how == "is killed":
        os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / lock.FILE).exists() == (how == "is killed")
    with lock.acquire(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / lock.FILE).read_text()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_released_when_the_run_fails(tmp_path):
    with pytest.raises(ValueError, match="a bug"), lock.acquire(tmp_path):
        raise ValueError("a bug")
    with lock.acquire(tmp_path):
        pass


def test_a_lock_file_that_its_holder_removed_is_not_used(tmp_path):
    """A process that opened the file before its removal would otherwise lock a file that no other sees."""
    flock, path = fcntl.flock, tmp_path / lock.FILE

    def flock_after_removal(file, flags):
        monkey.undo()
        path.unlink()
        flock(file, flags)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(fcntl, "flock", flock_after_removal)
        with lock.acquire(tmp_path):
            assert path.exists()


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock.acquire(tmp_path):
        pass
    logged = capsys.readouterr().err
    assert "cannot be locked (No locks available); make sure that no other run uses" in logged


def test_the_query_names_the_holder_and_keeps_no_run_out(tmp_path, holder):
    assert f"process {holder.pid} on" in lock.holder(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert lock.holder(tmp_path) is None
    with (tmp_path / lock.FILE).open() as query:
        fcntl.flock(query, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (query, fcntl.LOCK_UN)).start()
        with lock.acquire(tmp_path):
            assert f"process {os.getpid()} on" in lock.holder(tmp_path)
    assert lock.holder(tmp_path) is None and list(tmp_path.iterdir()) == []
