"""Saves that fail: by a folder that goes away, by files that the kernel refuses, by an error in the background."""

import contextlib
import errno
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import pytest

from barlow_jax.checkpoints.restoring import newest_step, open_checkpoints
from barlow_jax.errors import RunError
from barlow_jax.io import checksums
from barlow_jax.types import TrainState


@pytest.fixture(scope="module")
def state():
    return TrainState(jnp.int32(0), {"w": jnp.arange(1000.0)}, {}, {"w": jnp.ones(1000)})


def _at(state, step):
    return state._replace(step=jnp.asarray(step, jnp.int32))


@pytest.fixture
def away(tmp_path):
    """Takes the folder of the checkpoints away, as a bucket that is unmounted; a file is in its place."""

    def take_away():
        (tmp_path / "checkpoints").rename(tmp_path / "away")
        (tmp_path / "checkpoints").write_text("")

    def bring_back():
        (tmp_path / "checkpoints").unlink()
        (tmp_path / "away").rename(tmp_path / "checkpoints")

    return take_away, bring_back


def test_each_save_that_fails_is_said_and_saving_goes_on_when_the_folder_is_back(
    tmp_path, state, away, capsys
):
    take_away, bring_back = away
    with open_checkpoints(tmp_path, keep_newest=2) as checkpoints:
        checkpoints.save(_at(state, 1))
        checkpoints.save(_at(state, 2))
        checkpoints._manager.wait_until_finished()
        take_away()
        checkpoints.save(_at(state, 3))
        checkpoints.save(_at(state, 4))
        assert checkpoints.steps == []
        bring_back()
        checkpoints.save(_at(state, 5))
    said = capsys.readouterr().err
    for step in (3, 4):
        assert f"WARNING: the checkpoint of step {step} is NOT saved: FileExistsError" in said
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "5"]
    assert all(checksums.verify(tmp_path / "checkpoints" / step) == [] for step in "25")


def test_a_run_whose_last_save_failed_ends_in_an_error_that_names_the_newest(tmp_path, state, away):
    with (
        pytest.raises(RunError, match=r"step 2 is not saved: FileExistsError.* that is there: none"),
        open_checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(_at(state, 1))
        checkpoints._manager.wait_until_finished()
        away[0]()
        checkpoints.save(_at(state, 2))
    away[1]()
    assert newest_step(tmp_path) == 1


def test_why_a_run_ended_is_not_hidden_by_a_save_that_failed_too(tmp_path, state, away, capsys):
    with pytest.raises(ValueError, match="a bug"), open_checkpoints(tmp_path) as checkpoints:
        away[0]()
        checkpoints.save(_at(state, 1))
        raise ValueError("a bug")
    assert "error: the checkpoint of step 1 is not saved" in capsys.readouterr().err


@pytest.mark.parametrize("seen_by", ["look", "save", "close"])
def test_a_failure_in_the_background_is_noticed(tmp_path, state, monkeypatch, capsys, seen_by):
    """The digests are the last thing that is written; the folder has no name of a step yet."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with contextlib.ExitStack() as stack:
        if seen_by == "close":
            stack.enter_context(pytest.raises(RunError, match=r"step 2 .*No space left.* that is there: 1"))
        checkpoints = stack.enter_context(open_checkpoints(tmp_path))
        checkpoints.save(_at(state, 1))
        checkpoints._manager.wait_until_finished()
        with monkeypatch.context() as patch:
            patch.setattr(checksums, "write", full)
            checkpoints.save(_at(state, 2))
            while checkpoints._manager.is_saving_in_progress():
                time.sleep(0.01)
        if seen_by == "look":
            checkpoints.look()
            assert checkpoints.steps == [1]
        if seen_by != "close":
            checkpoints.save(_at(state, 3))
    assert capsys.readouterr().err.count("WARNING: the checkpoint of step 2 is NOT saved: OSError") == 1
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == (["1"] if seen_by == "close" else ["1", "3"])


def test_a_disk_with_too_little_room_is_not_filled(tmp_path, state, monkeypatch, capsys):
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=size - 1))
    with pytest.raises(RunError, match="No space left"), open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
        assert list((tmp_path / "checkpoints").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=size))
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
    assert newest_step(tmp_path) == 1


FULL = """
import pathlib, resource, sys
import jax.numpy as jnp, numpy as np
from barlow_jax.checkpoints.restoring import open_checkpoints
from barlow_jax.types import TrainState

def state(step):
    noise = np.random.default_rng(step).bytes(1 << 20)  # that nothing compresses
    return TrainState(jnp.int32(step), {"w": jnp.asarray(np.frombuffer(noise, np.uint8))}, {}, {})

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

with open_checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(state(1))
    checkpoints._manager.wait_until_finished()
    limit(1 << 19)
    checkpoints.save(state(2))
    checkpoints.save(state(3))
    if sys.argv[2] == "again":
        checkpoints._manager and checkpoints._settle()
        limit(resource.RLIM_INFINITY)
        checkpoints.save(state(4))
"""


@pytest.mark.parametrize(("how", "left"), [("again", ["1", "4"]), ("never", ["1"])])
def test_files_that_the_kernel_refuses_in_the_midst_of_writing_leave_the_old_checkpoints(tmp_path, how, left):
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), how], capture_output=True, text=True, check=False
    )
    for step in (2, 3):
        assert f"WARNING: the checkpoint of step {step} is NOT saved: File too large" in ran.stderr
    assert ("RunError" in ran.stderr) == (ran.returncode != 0) == (how == "never")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == left
    assert all(checksums.verify(tmp_path / "checkpoints" / step) == [] for step in left)
