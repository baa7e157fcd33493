"""A workdir that is unmounted during a run, and is mounted again or not."""

import json
import time

import pytest

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.experiment import pretraining
from barlow_jax.io import checksums
from barlow_jax.workdir import saved_run

ARGV = (
    "--config.monitor.every_epochs=0",
    "--config.train.max_skipped_steps=none",
)  # saves at 6, 12, 18 and 22


@pytest.fixture
def at_step(monkeypatch):
    """Return `at_step(n, function)`, which calls the function after update n, before the hooks of the run."""
    calls, fit = {}, pretraining.fit

    def interrupted(step, state, batches, *, num_steps, hooks):
        def hook(done, state, metrics):
            calls.pop(done, lambda: None)()

        return fit(step, state, batches, num_steps=num_steps, hooks=[hook, *hooks])

    monkeypatch.setattr(pretraining, "fit", interrupted)
    return calls.__setitem__


def _unmount(workdir, newest):
    """Replace the workdir by a file once this checkpoint is complete, so that nothing below it exists."""
    while newest_step(workdir) != newest:
        time.sleep(0.01)
    workdir.rename(workdir.with_name("away"))
    workdir.write_text("")


def _mount(workdir):
    workdir.unlink()
    workdir.with_name("away").rename(workdir)


def _rows(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    measured = ("images_per_second", "data_wait_fraction")
    return [{k: v for k, v in row.items() if k not in measured} for row in rows if "loss" in row]


def test_a_run_survives_a_missing_workdir_and_loses_no_row(
    tmp_path, config_file, run_command, at_step, finished
):
    workdir = tmp_path / "run"
    at_step(9, lambda: _unmount(workdir, 6))
    at_step(19, lambda: _mount(workdir))
    results, stderr = run_command("pretrain", "--config", config_file, *ARGV, "--workdir", workdir)
    assert results["loss"] == _rows(workdir)[-1]["loss"] and _rows(workdir) == _rows(finished)
    for step in (12, 18):
        assert f"warning: the checkpoint of step {step} is NOT saved: " in stderr
    assert "metrics.jsonl cannot be written (Not a directory)" in stderr and "pending lines" in stderr
    assert f"{saved_run.STATUS} cannot be written" in stderr
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"6", "22"}
    assert checksums.verify(workdir / "checkpoints" / "22") == []
    assert saved_run.saved_status(workdir)["state"] == "finished"


@pytest.mark.slow
def test_a_run_whose_workdir_stays_missing_fails_and_resumes_later(
    tmp_path, config_file, run_command, at_step
):
    workdir = tmp_path / "run"
    at_step(15, lambda: _unmount(workdir, 12))
    _, stderr = run_command("pretrain", "--config", config_file, "--workdir", workdir, *ARGV, code=1)
    assert (
        "error: the checkpoint of step 22 is not saved" in stderr and "Traceback (most recent" not in stderr
    )
    assert "lines of" in stderr and "are lost" in stderr
    _mount(workdir)
    assert newest_step(workdir) == 12
    results, _ = run_command("pretrain", "--config", config_file, "--workdir", workdir, *ARGV)
    assert (results["first_step"], results["step"]) == (12, 22)
    assert [row["step"] for row in _rows(workdir)] == list(range(2, 23, 2))
