"""Saves that fail: a folder disappears, the kernel refuses a file, or the background thread raises."""

import contextlib
import errno
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.restore import newest_step, open_checkpoints
from barlow_jax.checkpoints.verify import Verdict
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import RunError
from barlow_jax.io import checksums
from barlow_jax.types import TrainState


@pytest.fixture(scope="module")
def state():
    return TrainState(jnp.int32(0), {"w": jnp.arange(1000.0)}, {}, {"w": jnp.ones(1000)})


def _at(state, step):
    return state._replace(step=jnp.asarray(step, jnp.int32))


@pytest.fixture
def bucket(tmp_path):
    """Two functions: replace the checkpoint folder by a file, as unmounting a bucket does, and restore it."""

    def unmount():
        (tmp_path / "checkpoints").rename(tmp_path / "away")
        (tmp_path / "checkpoints").write_text("")

    def remount():
        (tmp_path / "checkpoints").unlink()
        (tmp_path / "away").rename(tmp_path / "checkpoints")

    return unmount, remount


def test_each_failed_save_is_logged_and_saving_resumes_when_the_folder_is_back(
    tmp_path, state, bucket, capsys
):
    unmount, remount = bucket
    with open_checkpoints(tmp_path, keep_newest=2) as checkpoints:
        checkpoints.save(_at(state, 1))
        checkpoints.save(_at(state, 2))
        checkpoints._manager.wait_until_finished()
        unmount()
        checkpoints.save(_at(state, 3))
        checkpoints.save(_at(state, 4))
        assert checkpoints.steps == []
        remount()
        checkpoints.save(_at(state, 5))
    logged = capsys.readouterr().err
    for step in (3, 4):
        assert f"warning: the checkpoint of step {step} is NOT saved: FileExistsError" in logged
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "5"]
    assert all(checksums.verify(tmp_path / "checkpoints" / step) == [] for step in "25")


def test_a_run_whose_last_save_failed_ends_in_an_error_that_names_the_newest_checkpoint(
    tmp_path, state, bucket
):
    with (
        pytest.raises(RunError, match=r"step 2 is not saved: FileExistsError.* Newest checkpoint: none"),
        open_checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(_at(state, 1))
        checkpoints._manager.wait_until_finished()
        bucket[0]()
        checkpoints.save(_at(state, 2))
    bucket[1]()
    assert newest_step(tmp_path) == 1


def test_a_failed_save_does_not_hide_the_exception_that_ended_the_run(tmp_path, state, bucket, capsys):
    with pytest.raises(ValueError, match="a bug"), open_checkpoints(tmp_path) as checkpoints:
        bucket[0]()
        checkpoints.save(_at(state, 1))
        raise ValueError("a bug")
    assert "error: the checkpoint of step 1 is not saved" in capsys.readouterr().err


@pytest.mark.parametrize("seen_by", ["check_save", "save", "close"])
def test_a_failure_in_the_background_is_noticed(tmp_path, state, monkeypatch, capsys, seen_by):
    """Fail while writing the checksums, which come last; the folder does not have its final name yet."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with contextlib.ExitStack() as stack:
        if seen_by == "close":
            stack.enter_context(
                pytest.raises(RunError, match=r"step 2 .*No space left.* Newest checkpoint: 1")
            )
        checkpoints = stack.enter_context(open_checkpoints(tmp_path))
        checkpoints.save(_at(state, 1))
        checkpoints._manager.wait_until_finished()
        with monkeypatch.context() as patch:
            patch.setattr(checksums, "write", full)
            checkpoints.save(_at(state, 2))
            while checkpoints._manager.is_saving_in_progress():
                time.sleep(0.01)
        if seen_by == "check_save":
            checkpoints.check_save()
            assert checkpoints.steps == [1]
        if seen_by != "close":
            checkpoints.save(_at(state, 3))
    assert capsys.readouterr().err.count("warning: the checkpoint of step 2 is NOT saved: OSError") == 1
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == (["1"] if seen_by == "close" else ["1", "3"])


def test_a_disk_with_too_little_space_is_not_filled(tmp_path, state, monkeypatch, capsys):
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
from barlow_jax.checkpoints.restore import open_checkpoints
from barlow_jax.types import TrainState

def state(step):
    noise = np.random.default_rng(step).bytes(1 << 20)  # incompressible
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
        checkpoints._manager and checkpoints.wait()
        limit(resource.RLIM_INFINITY)
        checkpoints.save(state(4))
"""


@pytest.mark.parametrize(("how", "left"), [("again", ["1", "4"]), ("never", ["1"])])
def test_a_write_that_the_kernel_refuses_leaves_the_old_checkpoints(tmp_path, how, left):
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), how], capture_output=True, text=True, check=False
    )
    for step in (2, 3):
        assert f"warning: the checkpoint of step {step} is NOT saved: File too large" in ran.stderr
    assert ("RunError" in ran.stderr) == (ran.returncode != 0) == (how == "never")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == left
    assert all(checksums.verify(tmp_path / "checkpoints" / step) == [] for step in left)


@pytest.mark.parametrize("name", ["run [1] best", "a]b[c", "*?", "{x}~%41#:$'"])
def test_a_path_with_special_characters_is_saved_restored_and_verified(tmp_path, state, name):
    with open_checkpoints(tmp_path / name) as checkpoints:
        checkpoints.save(_at(state, 1))
    with open_checkpoints(tmp_path / name, read_only=True) as checkpoints:
        assert checkpoints.examine(1, state.nonempty_fields()) == Verdict((), verified=True)
        params, _ = checkpoints.restore_part(state.params, {}, Layout(make_mesh()), 1)
    np.testing.assert_array_equal(params["w"], state.params["w"])


def test_a_save_whose_metadata_cannot_be_read_back_has_failed(tmp_path, state, monkeypatch):
    """Orbax merges what the processes wrote into a manifest; without it nothing can be restored."""
    monkeypatch.setattr(verify.LiteralPath, "glob", lambda *_: iter(()))
    with pytest.raises(RunError, match="step 1 is not saved"), open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
    assert newest_step(tmp_path) is None


def test_the_best_checkpoint_is_kept_until_another_one_is_best(tmp_path, state):
    with open_checkpoints(tmp_path, keep_newest=1) as checkpoints:
        for step, best in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, None)):
            checkpoints.best_step = best
            checkpoints.save(_at(state, step))
            checkpoints._manager.wait_until_finished()
            assert checkpoints.steps == sorted({step, best or step})
