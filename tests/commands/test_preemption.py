"""SIGTERM to a run: it stops at a step that is saved, and resumes to the same bits."""

import json
import os
import signal
import time

import pytest
import run_processes
import soak

from barlow_jax.evals import features
from barlow_jax.experiment.skipping import SkipWatch
from barlow_jax.training import preemption


def _terminate():
    """Send SIGTERM to this process, and wait until its watching thread has received it."""
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while preemption._watcher._stop_at is None and time.monotonic() < deadline:
        time.sleep(0.001)


def _assert_resumes_to_the_same_bits(argv, workdir, untouched, run_command):
    results, stderr = run_command(*argv)
    assert results["step"] == 22
    assert soak.differences(workdir, untouched) == []
    return stderr


@pytest.fixture
def argv(tmp_path, config_file):
    return ("pretrain", "--config", config_file, "--workdir", str(tmp_path))


def _losses(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_in_a_step_the_step_is_saved(tmp_path, argv, finished, run_command, monkeypatch):
    watch = SkipWatch.__call__

    def terminated(self, done, state, metrics):
        watch(self, done, state, metrics)
        if done == 7:
            _terminate()

    argv = (*argv, "--config.monitor.every_epochs=0", "--config.train.max_steps=10")
    with monkeypatch.context() as patch:
        patch.setattr(SkipWatch, "__call__", terminated)
        _, stderr = run_command(*argv, code=143)
    assert "SIGTERM: step 7 is saved. Run the same command again" in stderr.splitlines()[-1]
    assert not (tmp_path / "pretrain.lock").exists()
    for name in (".metrics.jsonl.17", "results/.pretrain.json.17"):  # as left by a killed process
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{")
    results, stderr = run_command(*argv)
    assert results["step"] == 10 and "resuming from the checkpoint of step 7" in stderr
    assert _losses(tmp_path) == {step: loss for step, loss in _losses(finished).items() if step <= 10}
    assert not list(tmp_path.rglob(".*.17"))


@pytest.mark.slow
def test_in_the_last_evaluation_the_step_is_saved_and_the_evaluation_runs_later(
    tmp_path, argv, workdir, run_command, monkeypatch
):
    extract, calls = features.extract, []

    def terminated(encode, batches, layout):
        calls.append(None)
        if len(calls) == 4:  # second table of the second evaluation
            _terminate()
        return extract(encode, batches, layout)

    with monkeypatch.context() as patch:
        patch.setattr(features, "extract", terminated)
        _, stderr = run_command(*argv, code=143)
    assert "step 22 is saved" in stderr and "step 22  k-NN" not in stderr
    stderr = _assert_resumes_to_the_same_bits(argv, tmp_path, workdir, run_command)
    assert "step 22  k-NN" in stderr


def test_before_the_first_step_the_process_exits_at_once(tmp_path):
    """The same holds while the data set is prepared, or the step is compiled."""
    run = run_processes.start(
        ["terminate_in", "barlow_jax.data.splits.open_split", 0], "--workdir", tmp_path / "run"
    )
    out, err = run_processes.finish(run, 143)
    assert out == "" and "nothing to save. Run the same command again" in err.splitlines()[-1]
