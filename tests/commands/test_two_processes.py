"""A run of two processes that is told to stop, loses one of them, or is moved to other devices, goes on to the same result."""

import itertools
import json
import re
import shutil
import signal

import numpy as np
import pytest
import several
from sklearn.datasets import load_digits
import soak

from barlow_jax.distributed import shutdown
from barlow_jax.workdir import saved_run

STEPS = (
    "--config.train.max_steps=10",
    "--config.train.log_every_steps=1",
    "--config.checkpoint.every_epochs=0.28",
    "--config.monitor.every_epochs=0.5",
    "--config.monitor.max_images=256",
)
# Without TensorFlow, which takes ten seconds to import.
ARRAYS = ("--config.data.name=arrays", "--config.data.augment_on=device", "--config.data.canvas=8")
HEARTBEAT_S = 4
MOVED = ((8, "replicated"), (1, "replicated"))  # devices of one process, and the projector there
REST = tuple(case for case in itertools.product((8, 4, 1), ("sharded", "replicated")) if case not in MOVED)


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    """The flags of a run of ten steps on the digits, a save every third step and a monitor every sixth."""
    folder, digits = tmp_path_factory.mktemp("arrays"), load_digits()
    levels = (digits.images * 15).astype(np.uint8)
    np.savez(folder / "train.npz", images=levels[:1437], labels=digits.target[:1437])
    np.savez(folder / "test.npz", images=levels[1437:], labels=digits.target[1437:])
    return (*STEPS, *ARRAYS, f"--config.data.data_dir={folder}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What is compiled once is there for every process."""
    return {
        "WITHOUT_TENSORFLOW": "yes",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


@pytest.fixture(scope="module")
def two(argv, environment):
    """Starts both processes, of two devices each: `two(part, workdir)`."""

    def start(part, workdir, *more):
        return several.start_two(part, "--workdir", workdir, *argv, *more, devices=2, **environment)

    return start


@pytest.fixture(scope="module")
def untouched(two, tmp_path_factory):
    """The workdir of a run that nobody touched; its example ids are beside it."""
    workdir = tmp_path_factory.mktemp("untouched") / "run"
    for process in two(["record_ids", workdir.parent], workdir):
        several.finish(process)
    return workdir


def test_told_to_stop_both_save_the_same_step_and_a_lost_one_ends_the_other(
    two, untouched, tmp_path, tmp_path_factory
):
    """In the monitor, then in a step; then one is stopped for good, then one is killed; and on to the same bits."""
    both = two(["terminate_in", "barlow_jax.evals.features.extract", 1], tmp_path)
    said = [several.finish(process, 143)[1] for process in both]
    assert {re.search(r"told to stop \(SIGTERM\): (.*?);", err)[1] for err in said} == {"step 6 is saved"}

    impatient = f"--config.distributed.heartbeat_timeout_s={HEARTBEAT_S}"
    other, stopped = two(["end_at_a_batch", "SIGSTOP", 1, 3], tmp_path, impatient)
    _assert_says_that_it_lost_the_other(other)
    stopped.kill()
    several.finish(stopped, -signal.SIGKILL)

    killed, other = two(["end_at_a_batch", "SIGKILL", 0, 2], tmp_path, impatient)
    several.finish(killed, -signal.SIGKILL)
    _assert_says_that_it_lost_the_other(other)

    both = two(["record_ids", tmp_path_factory.mktemp("ids")], tmp_path)
    assert json.loads(several.finish(both[0])[0])["step"] == 10
    several.finish(both[1])
    assert soak.differences(tmp_path, untouched) == []


def _assert_says_that_it_lost_the_other(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGABRT, shutdown.ABORTED), err
    assert "another process died or could no longer be reached" in err.splitlines()[-1]


def test_told_to_stop_before_the_first_step_both_leave_at_once(two, tmp_path):
    for process in two(["terminate_in", "barlow_jax.commands.pretrain.compile_step", 0], tmp_path):
        _, err = several.finish(process, 143)
        assert "nothing was to be saved" in err.splitlines()[-1]


@pytest.mark.parametrize("process", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_save_that_fails_on_one_process_alone_stops_nobody(two, untouched, tmp_path, process):
    """Both say so and go on; and later saves are whole."""
    sharded = "--config.mesh.projector=sharded"  # of a replicated state process 0 writes all
    both = two(["write_little_from", 4, process], tmp_path, sharded)
    for index, (_, err) in enumerate(map(several.finish, both)):
        why = "File too large" if index == process else "it failed on another process, which says why"
        assert re.search(rf"warning: the checkpoint of step [36] is NOT saved: .*{why}", err), err
    assert sorted(saved_run.checkpoint_steps(tmp_path)) == [9, 10]
    losses, expected = ([row["loss"] for row in _rows(run) if "loss" in row] for run in (tmp_path, untouched))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)  # there the projector is replicated


@pytest.fixture(scope="module", params=["sharded", pytest.param("replicated", marks=pytest.mark.slow)])
def half_way(two, request, tmp_path_factory):
    """The workdir of the run after five of its steps, with the projector so."""
    workdir = tmp_path_factory.mktemp("half_way") / "run"
    flags = ("--config.train.max_steps=5", f"--config.mesh.projector={request.param}")
    for process in two(["record_ids", workdir.parent], workdir, *flags):
        several.finish(process)
    return workdir


@pytest.mark.parametrize(
    ("devices", "projector"), [*MOVED, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
)
def test_moved_to_other_devices_it_goes_on_with_the_same_images(
    half_way, untouched, argv, environment, tmp_path, devices, projector
):
    workdir = tmp_path / "run"
    shutil.copytree(half_way, workdir)
    flags = ("--workdir", workdir, *argv, f"--config.mesh.projector={projector}")
    several.finish(several.start(["record_ids", tmp_path], *flags, devices=devices, **environment))
    losses, expected = ([row["loss"] for row in _rows(run) if "loss" in row] for run in (workdir, untouched))
    assert len(losses) == len(expected) == 10
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    moved, *shares = (
        json.loads(path.read_text())
        for path in (tmp_path / "ids0.json", *sorted(untouched.parent.glob("ids?.json")))
    )
    np.testing.assert_array_equal(moved[:5], np.concatenate(shares, axis=1)[5:10])


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
