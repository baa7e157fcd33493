"""A workdir that goes away in the midst of a run, and comes back or does not."""

import json
import time

import pytest

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.commands import pretrain
from barlow_jax.io import checksums
from barlow_jax.workdir import saved_run

ARGV = (
    "--config.monitor.every_epochs=0",
    "--config.train.max_skipped_steps=none",
)  # saves at 6, 12, 18 and 22


@pytest.fixture
def at_step(monkeypatch):
    """`at_step(n, call)`: calls it once update n is done, before the hooks of the run."""
    calls, fit = {}, pretrain.fit

    def interrupted(step, state, feed, *, num_steps, hooks):
        def hook(done, state, metrics):
            calls.pop(done, lambda: None)()

        return fit(step, state, feed, num_steps=num_steps, hooks=[hook, *hooks])

    monkeypatch.setattr(pretrain, "fit", interrupted)
    return calls.__setitem__


def _take_away(workdir, newest):
    """What is mounted there is gone, with a checkpoint that is whole; nothing can be made or found below it."""
    while newest_step(workdir) != newest:
        time.sleep(0.01)
    workdir.rename(workdir.with_name("away"))
    workdir.write_text("")


def _bring_back(workdir):
    workdir.unlink()
    workdir.with_name("away").rename(workdir)


def _rows(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    measured = ("images_per_second", "data_wait_fraction")
    return [{k: v for k, v in row.items() if k not in measured} for row in rows]


def test_a_run_outlives_its_workdir_and_loses_no_row_when_it_is_back(tmp_path, config_file, program, at_step):
    workdir = tmp_path / "run"
    argv = ("pretrain", "--config", config_file, *ARGV)
    whole, _ = program(*argv, "--workdir", tmp_path / "whole")
    at_step(9, lambda: _take_away(workdir, 6))
    at_step(19, lambda: _bring_back(workdir))
    results, said = program(*argv, "--workdir", workdir)
    assert results["loss"] == whole["loss"] and _rows(workdir) == _rows(tmp_path / "whole")
    for step in (12, 18):
        assert f"warning: the checkpoint of step {step} is NOT saved: " in said
    assert "metrics.jsonl cannot be written (Not a directory)" in said and "pending lines" in said
    assert f"{saved_run.STATUS} cannot be written" in said
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"6", "22"}
    assert checksums.verify(workdir / "checkpoints" / "22") == []
    assert saved_run.saved_status(workdir)["state"] == "finished"


def test_a_run_whose_workdir_does_not_come_back_ends_in_an_error_and_goes_on_later(
    tmp_path, config_file, program, at_step
):
    workdir = tmp_path / "run"
    at_step(15, lambda: _take_away(workdir, 12))
    _, said = program("pretrain", "--config", config_file, "--workdir", workdir, *ARGV, code=1)
    assert "error: the checkpoint of step 22 is not saved" in said and "Traceback (most recent" not in said
    assert "lines of" in said and "are lost" in said
    _bring_back(workdir)
    assert newest_step(workdir) == 12
    results, _ = program("pretrain", "--config", config_file, "--workdir", workdir, *ARGV)
    assert (results["first_step"], results["step"]) == (12, 22)
    assert [row["step"] for row in _rows(workdir)] == list(range(2, 23, 2))
