"""Lease of a workdir in a bucket: who holds it, who may take it over, and what its former holder does."""

import os
import signal
import socket
import time

import lock_holder
import pytest

from barlow_jax.errors import RunError, UserError
from barlow_jax.workdir import lease, lock


@pytest.fixture
def quick(monkeypatch):
    """A lease that expires after seconds."""
    monkeypatch.setattr(lease, "EXPIRES_S", 3.0)
    monkeypatch.setattr(lease, "_RENEW_S", 0.5)
    monkeypatch.setattr(lease, "_POLL_S", 0.2)


@pytest.fixture
def holder(bucket):
    with lock_holder.hold(bucket) as process:
        yield process


def _pretend_another_host(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "another")


def test_the_lease_names_its_holder_and_is_removed_at_the_end(bucket):
    assert lock.holder(bucket) is None
    with lock.acquire(bucket) as check:
        check()
        assert f"process {os.getpid()} on {socket.gethostname()}, since 2" in lock.holder(bucket)
        assert lock.holder(bucket) in (bucket / lock.FILE).read_text()
    assert lock.holder(bucket) is None and not (bucket / lock.FILE).exists()


def test_a_second_run_is_refused_once_the_first_has_renewed(bucket, quick, monkeypatch):
    with lock.acquire(bucket):
        _pretend_another_host(monkeypatch)
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), lock.acquire(bucket):
            pass
        time.sleep(4)
        assert lock.holder(bucket), "it is renewed beyond the time after which it would expire"


def test_the_lease_of_a_killed_process_of_this_host_is_taken_over_at_once(bucket, holder, capsys):
    assert str(holder.pid) in lock.holder(bucket)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert lock.holder(bucket) is None
    began = time.monotonic()
    with lock.acquire(bucket):
        assert time.monotonic() - began < 5
        assert f"process {os.getpid()} on" in lock.holder(bucket)
    assert f"process {holder.pid} on" in capsys.readouterr().err


def test_the_lease_of_a_killed_process_of_another_host_is_taken_over_when_it_expires(
    bucket, holder, quick, monkeypatch
):
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    _pretend_another_host(monkeypatch)
    with lock.acquire(bucket):
        assert f"process {os.getpid()} on another" in lock.holder(bucket)


def test_a_holder_that_was_cut_off_learns_that_another_run_has_the_workdir(bucket, quick, monkeypatch):
    with lock.acquire(bucket) as check:
        monkeypatch.setattr(lease, "EXPIRES_S", -1.0)
        lease._held.clear()
        with lock.acquire(bucket) as check_other:
            deadline = time.monotonic() + 30
            with pytest.raises(RunError, match="taken over"):
                while time.monotonic() < deadline:
                    check()
                    time.sleep(0.1)
            check_other()
        monkeypatch.setattr(lease, "EXPIRES_S", 3.0)
    assert not (bucket / lock.FILE).exists()


def test_a_lease_that_someone_removed_is_made_again(bucket, quick):
    with lock.acquire(bucket) as check:
        (bucket / lock.FILE).unlink()
        time.sleep(2)
        check()
        assert lock.holder(bucket)


def test_of_two_processes_one_creates_the_lease(bucket):
    blob = lease._blob(bucket / lock.FILE)
    new = lease.Lease("host", 1, "token", "now", 0, 0.0)
    generation = lease._write(blob, new, 0)
    assert generation and not lease._write(blob, new, 0)
    assert lease._write(blob, new, generation) > generation
    assert not lease._write(blob, new, generation)


def test_renewals_outlast_failing_requests(bucket, quick, inject):
    with lock.acquire(bucket) as check:
        inject(failing=0.3, latency_s=0.05)
        for _ in range(40):
            time.sleep(0.1)
            check()
        inject()
        assert lock.holder(bucket)
