"""Runs of several processes: connecting, results equal to one process, and how all end when one does."""

import argparse
import json
import os
import signal
import sys
import time

import numpy as np
import pytest
import run_processes
from run_processes import CONFIG

from barlow_jax import __main__
from barlow_jax.commands import pretrain
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.distributed import shutdown
from barlow_jax.distributed.cluster import ProcessSpec, parse_flags
from barlow_jax.io import checksums
from barlow_jax.workdir import lock

HEARTBEAT_S = 4
IMPATIENT = [f"--config.distributed.heartbeat_timeout_s={HEARTBEAT_S}"]
TEN_STEPS = [
    "--config.train.max_steps=10",
    "--config.train.log_every_steps=1",
    "--config.monitor.every_epochs=0",
    "--config.checkpoint.every_epochs=100",
]


# Data that is read without TensorFlow, whose import takes seconds.
_DATA = ("--config.data.name=captioned_digits", "--config.data.augment_on=device")


def _start(part, *argv, **environment):
    return run_processes.start(part, *_DATA, *argv, script=__file__, **environment)


def _start_two(part, *argv):
    return run_processes.start_two(part, *_DATA, *argv, script=__file__)


def _end_in_a_collective(how, process_id, argv):
    """Replace `pretrain` by a loop of collectives, during which one process ends."""

    def run(config, workdir, args):
        import jax
        from jax.experimental import multihost_utils

        for step in range(10_000 if how else 3):
            if step == 5 and (process_id == "all" or int(process_id) == jax.process_index()):
                _end_by(how)
            multihost_utils.process_allgather(np.ones(1))
            time.sleep(0.01)
        return {"processes": jax.process_count(), "process": jax.process_index()}

    pretrain.run = run
    return __main__.main(argv)


def _end_by(how):
    print(f"ends at {time.time()}", file=sys.stderr, flush=True)
    if how == "OSError":
        raise OSError("disk full")
    if how == "ValueError":
        raise ValueError("a bug")
    os.kill(os.getpid(), getattr(signal, how))


def test_two_processes_of_four_devices_give_the_results_of_one_process_of_eight(tmp_path, finished):
    both = run_processes.start_two(["record_ids", tmp_path], "--workdir", tmp_path, *TEN_STEPS, devices=4)
    outputs = [run_processes.finish(process)[0] for process in both]
    assert json.loads(outputs[0])["step"] == 10 and outputs[1] == "", "only process 0 prints results"
    one, two = _losses(finished), _losses(tmp_path)
    assert len(two) == 10
    steps = [2, 4, 6, 8, 10]  # one process logs every second step
    np.testing.assert_allclose([two[step] for step in steps], [one[step] for step in steps], rtol=1e-6)
    parts = [np.array(json.loads((tmp_path / f"ids{i}.json").read_text()))[:10] for i in range(2)]
    sampler = EpochSampler(0, 1437, 128)
    expected = [sampler.batch(step)[0] for step in range(10)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


@pytest.mark.slow
def test_two_processes_agree_on_the_newest_intact_checkpoint_and_on_a_lock_in_use(tmp_path):
    run = tmp_path / "run"
    argv = (["record_ids", tmp_path], "--workdir", run, *TEN_STEPS, "--config.checkpoint.every_epochs=0.5")
    for process in run_processes.start_two(*argv):
        run_processes.finish(process)
    newest = run / "checkpoints" / "10"
    assert checksums.exist(newest) and checksums.verify(newest) == []
    writers = {path.parts[-3] for path in newest.rglob("d/*")}
    assert {"ocdbt.process_0", "ocdbt.process_1"} <= writers, "each process has written a part"
    losses = _losses(run)
    damaged = max(newest.glob("default/ocdbt.process_1/d/*"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    both = [run_processes.finish(process) for process in run_processes.start_two(*argv)]
    assert json.loads(both[0][0])["first_step"] == 6 and _losses(run) == losses
    assert "step 10: default/ocdbt.process_1/d/" in both[0][1] and "skipped" not in both[1][1]
    assert (run / "damaged" / "10").is_dir() and checksums.verify(newest) == []
    with lock.acquire(run):
        first, second = run_processes.start_two(*argv)
        assert "another run is using" in run_processes.finish(first, 2)[1]
        assert "error: process 0 failed; see its log" in run_processes.finish(second, 1)[1]


def _losses(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.mark.slow
def test_a_killed_process_ends_the_other_during_pretraining(tmp_path):
    other, killed = run_processes.start_two(
        ["end_at_a_batch", "SIGKILL", 1, 6], "--workdir", tmp_path / "run", *IMPATIENT
    )
    run_processes.finish(killed, -signal.SIGKILL)
    _assert_other_process_lost(other)


# Each kind of end and each process occurs once; the other combinations are slow.
ENDS = {("SIGKILL", 0), ("SIGSTOP", 1), ("OSError", 1)}


@pytest.mark.parametrize(
    ("how", "process_id"),
    [
        pytest.param(how, process, marks=() if (how, process) in ENDS else pytest.mark.slow)
        for how in ("SIGKILL", "SIGSTOP", "OSError")
        for process in (0, 1)
    ],
)
def test_a_process_that_ends_ends_the_other(tmp_path, how, process_id):
    both = _start_two(["_end_in_a_collective", how, process_id], "--workdir", tmp_path / "run", *IMPATIENT)
    ends, other = both[process_id], both[1 - process_id]
    ended = _assert_other_process_lost(other)
    if how == "SIGSTOP":
        ends.kill()
    _, err = run_processes.finish(ends, 1 if how == "OSError" else -signal.SIGKILL)
    assert ended - float(err.partition("ends at ")[2].split()[0]) < HEARTBEAT_S + 8
    assert how != "OSError" or err.endswith("error: OSError: disk full\n")


def test_processes_that_fail_together_each_report_their_error(tmp_path):
    both = _start_two(["_end_in_a_collective", "ValueError", "all"], "--workdir", tmp_path / "run")
    for process in both:
        _, err = run_processes.finish(process, 1)
        assert "ValueError: a bug" in err and "another process" not in err


def test_a_slurm_step_is_detected(tmp_path):
    both = [
        _start(
            ["_end_in_a_collective", "", 0],
            "--workdir",
            tmp_path / "run",
            SLURM_JOB_ID="1",
            SLURM_STEP_NODELIST="localhost",
            SLURM_NTASKS="2",
            SLURM_PROCID=str(i),
            SLURM_LOCALID=str(i),
            JAX_COORDINATOR_PORT=str(port),
        )
        for port in [run_processes.free_port()]
        for i in range(2)
    ]
    outputs = [run_processes.finish(process)[0] for process in both]
    assert json.loads(outputs[0]) == {"processes": 2, "process": 0} and outputs[1] == ""


def test_without_a_cluster_and_flags_a_command_runs_alone(tmp_path):
    out, _ = run_processes.finish(_start(["_end_in_a_collective", "", 0], "--workdir", tmp_path / "run"))
    assert json.loads(out) == {"processes": 1, "process": 0}


def test_a_process_that_waits_in_vain_reports_the_timeout(tmp_path):
    alone = _start(
        ["_end_in_a_collective", "", 0],
        "--workdir",
        tmp_path / "run",
        "--coordinator=127.0.0.1:1",
        "--num-processes=2",
        "--process-id=1",
        "--config.distributed.initialization_timeout_s=1",
    )
    _, err = run_processes.finish(alone, -signal.SIGABRT)
    assert "did not connect within 1 s; start all 2 of them" in err.splitlines()[-1]


def test_a_cluster_that_cannot_be_joined_is_named(tmp_path):
    process = _start(["_end_in_a_collective", "", 0], "--workdir", tmp_path, JAX_COORDINATOR_ADDRESS="a:1")
    _, err = run_processes.finish(process, 1)
    assert "Number of processes must be defined." in err and "--config.distributed.detect=false" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--coordinator=a:1"], ["--num-processes is missing", "--process-id is missing"]),
        (
            ["--coordinator=a", "--num-processes=2", "--process-id=0"],
            ["HOST:PORT, such as 10.0.0.2:8476, got 'a'"],
        ),
        (["--coordinator=a:0", "--num-processes=2", "--process-id=0"], ["expected HOST:PORT"]),
        (
            ["--coordinator=a:1", "--num-processes=two", "--process-id=-1"],
            [
                "--num-processes: expected an integer of at least 1, got 'two'",
                "--process-id: expected an integer of at least 0, got '-1'",
            ],
        ),
        (["--coordinator=a:1", "--num-processes=2", "--process-id=2"], ["from 0 to 1, got '2'"]),
    ],
)
def test_wrong_flags_are_named_with_the_other_problems(capsys, tmp_path, flags, words):
    argv = ["pretrain", "--config", CONFIG, "--workdir", str(tmp_path / "x"), "--config.train.x=1", *flags]
    assert __main__.main(argv) == 2
    logged = capsys.readouterr().err
    assert logged.startswith(f"error: {len(words) + 1} problems\n") and all(word in logged for word in words)


def test_flags_are_parsed():
    args = argparse.Namespace(coordinator="[::1]:80", num_processes="2", process_id="1")
    assert parse_flags(args) == (ProcessSpec("[::1]:80", 2, 1), [])


def _assert_other_process_lost(process):
    """Check that the last line reports the lost process; return the time at which this one ended."""
    _, err = process.communicate(timeout=60)
    ended = time.time()
    assert process.returncode in (-signal.SIGABRT, shutdown.ABORTED), err
    last = err.splitlines()[-1]
    assert "another process died or could no longer be reached" in last and "again" in last, err
    return ended


if __name__ == "__main__":
    sys.exit(run_processes.play(_end_in_a_collective))
