"""The lock of a workdir, against processes that hold it, end and are killed."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from barlow_jax.errors import UserError
from barlow_jax.workdir import lock

HOLDS = """
import pathlib, sys, time
from barlow_jax.workdir import lock
with lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_told_who_is_there(tmp_path, holder):
    with pytest.raises(UserError) as error, lock.held(tmp_path):
        pass
    said = str(error.value)
    assert (
        f"process {holder.pid} on {socket.gethostname()}, since 2" in said and "use another workdir" in said
    )


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_when_the_holder_ends_in_any_way_the_next_one_may(tmp_path, holder, how):
    if how == "is killed":
        os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / lock.FILE).exists() == (how == "is killed")
    with lock.held(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / lock.FILE).read_text()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_given_back_when_the_run_fails(tmp_path):
    with pytest.raises(ValueError, match="a bug"), lock.held(tmp_path):
        raise ValueError("a bug")
    with lock.held(tmp_path):
        pass


def test_a_lock_that_was_removed_while_one_waited_to_open_it_is_not_taken_for_the_new_one(tmp_path):
    """Who opened the old file before its holder removed it would lock a file that nobody else sees."""
    flock, path = fcntl.flock, tmp_path / lock.FILE

    def removed_first(file, flags):
        monkey.undo()
        path.unlink()
        flock(file, flags)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(fcntl, "flock", removed_first)
        with lock.held(tmp_path):
            assert path.exists()


def test_a_file_system_without_locks_is_said_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock.held(tmp_path):
        pass
    said = capsys.readouterr().err
    assert "cannot be locked (No locks available): see that no other run uses it" in said


def test_who_only_looks_sees_the_holder_and_keeps_nobody_out(tmp_path, holder):
    assert f"process {holder.pid} on" in lock.holder(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert lock.holder(tmp_path) is None
    with (tmp_path / lock.FILE).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with lock.held(tmp_path):
            assert f"process {os.getpid()} on" in lock.holder(tmp_path)
    assert lock.holder(tmp_path) is None and list(tmp_path.iterdir()) == []
