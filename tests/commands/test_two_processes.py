"""A run of two processes that is preempted, loses a process or moves to other devices: same result."""

import itertools
import json
import re
import shutil
import signal

import numpy as np
import pytest
import run_processes
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
ARRAYS = ("--config.data.name=images", "--config.data.augment_on=device", "--config.data.canvas=8")
HEARTBEAT_S = 4
# Number of devices of one process, and the layout of the projector there.
CASES = tuple(itertools.product((8, 4, 1), ("sharded", "replicated")))


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    """Flags of a run of ten steps on the digits: a save every third, an evaluation every sixth step."""
    folder, digits = tmp_path_factory.mktemp("arrays"), load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    np.savez(folder / "train.npz", images=pixels[:1437], labels=digits.target[:1437])
    np.savez(folder / "test.npz", images=pixels[1437:], labels=digits.target[1437:])
    return (*STEPS, *ARRAYS, f"--config.data.data_dir={folder}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Environment in which all processes share a compilation cache."""
    return {
        "WITHOUT_TENSORFLOW": "yes",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


@pytest.fixture(scope="module")
def two(argv, environment):
    """Return `two(part, workdir)`, which starts both processes with two devices each."""

    def start(part, workdir, *more):
        return run_processes.start_two(part, "--workdir", workdir, *argv, *more, devices=2, **environment)

    return start


@pytest.fixture(scope="module")
def untouched(two, tmp_path_factory):
    """Workdir of an uninterrupted run; the indices of its examples are in the parent folder."""
    workdir = tmp_path_factory.mktemp("untouched") / "run"
    for process in two(["record_ids", workdir.parent], workdir):
        run_processes.finish(process)
    return workdir


@pytest.mark.slow
def test_preempted_both_save_the_same_step_and_a_lost_process_ends_the_other(
    two, untouched, tmp_path, tmp_path_factory
):
    """Preempt in an evaluation and in a step, then stop one process, then kill one: the bits are the same."""
    both = two(["terminate_in", "barlow_jax.evals.features.extract", 1], tmp_path)
    errors = [run_processes.finish(process, 143)[1] for process in both]
    assert {re.search(r"SIGTERM: (.*?)\.", err)[1] for err in errors} == {"step 6 is saved"}

    impatient = f"--config.distributed.heartbeat_timeout_s={HEARTBEAT_S}"
    other, stopped = two(["end_at_a_batch", "SIGSTOP", 1, 3], tmp_path, impatient)
    _assert_lost_the_other(other)
    stopped.kill()
    run_processes.finish(stopped, -signal.SIGKILL)

    killed, other = two(["end_at_a_batch", "SIGKILL", 0, 2], tmp_path, impatient)
    run_processes.finish(killed, -signal.SIGKILL)
    _assert_lost_the_other(other)

    both = two(["record_ids", tmp_path_factory.mktemp("ids")], tmp_path)
    assert json.loads(run_processes.finish(both[0])[0])["step"] == 10
    run_processes.finish(both[1])
    assert soak.differences(tmp_path, untouched) == []


def _assert_lost_the_other(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGABRT, shutdown.ABORTED), err
    assert "another process died or could no longer be reached" in err.splitlines()[-1]


def test_preempted_before_the_first_step_both_exit_at_once(two, tmp_path):
    for process in two(["terminate_in", "barlow_jax.experiment.experiment.compile_step", 0], tmp_path):
        _, err = run_processes.finish(process, 143)
        assert "nothing to save" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("process", [1, 0])
def test_a_save_that_fails_on_one_process_stops_no_process(two, untouched, tmp_path, process):
    """Both log it and continue, and later saves are complete."""
    sharded = "--config.mesh.projector=sharded"  # of a replicated state process 0 writes all
    both = two(["write_little_from", 4, process], tmp_path, sharded)
    for index, (_, err) in enumerate(map(run_processes.finish, both)):
        why = "File too large" if index == process else "it failed on another process; see its log"
        assert re.search(rf"warning: the checkpoint of step [36] is NOT saved: .*{why}", err), err
    assert sorted(saved_run.checkpoint_steps(tmp_path)) == [9, 10]
    losses, expected = ([row["loss"] for row in _rows(run) if "loss" in row] for run in (tmp_path, untouched))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)  # the other run has a replicated projector


@pytest.fixture(scope="module", params=["sharded", "replicated"])
def half_way(two, request, tmp_path_factory):
    """Workdir of the run after five of its steps, with this projector."""
    workdir = tmp_path_factory.mktemp("half_way") / "run"
    flags = ("--config.train.max_steps=5", f"--config.mesh.projector={request.param}")
    for process in two(["record_ids", workdir.parent], workdir, *flags):
        run_processes.finish(process)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "projector"), CASES)
def test_on_other_devices_the_run_resumes_with_the_same_images(
    half_way, untouched, argv, environment, tmp_path, devices, projector
):
    workdir = tmp_path / "run"
    shutil.copytree(half_way, workdir)
    flags = ("--workdir", workdir, *argv, f"--config.mesh.projector={projector}")
    process = run_processes.start(["record_ids", tmp_path], *flags, devices=devices, **environment)
    run_processes.finish(process)
    losses, expected = ([row["loss"] for row in _rows(run) if "loss" in row] for run in (workdir, untouched))
    assert len(losses) == len(expected) == 10
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    moved, *shards = (
        json.loads(path.read_text())
        for path in (tmp_path / "ids0.json", *sorted(untouched.parent.glob("ids?.json")))
    )
    np.testing.assert_array_equal(moved[:5], np.concatenate(shards, axis=1)[5:10])


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
