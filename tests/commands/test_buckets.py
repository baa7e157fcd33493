"""A run in a bucket against one on a disk: every command, kills, and faults of the bucket."""

import json
import signal
import time

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache
import numpy as np
import pytest
from run_processes import finish, start, start_two
import soak

from barlow_jax.checkpoints.restore import newest_step
from barlow_jax.experiment import pretraining
from barlow_jax.io import checksums, jsonl
from barlow_jax.workdir import lease, saved_run

TWO = ("--config.monitor.every_epochs=0", "--config.train.max_steps=10")


@pytest.fixture
def trained(bucket, config_file, run_command):
    run_command("pretrain", "--config", config_file, "--workdir", bucket / "run")
    return bucket / "run"


def test_every_command_has_the_numbers_of_a_disk(trained, finished, bucket, run_command):
    assert soak.differences(trained, finished) == []
    status = run_command("status", "--workdir", trained)[0]
    assert (status["state"], status["step"], status["checkpoint"]["step"]) == ("finished", 22, 22)
    assert run_command("verify", "--workdir", trained)[0]["intact"]
    assert [run["run"] for run in run_command("runs", bucket)[0]["runs"]] == ["run"]
    for command in ("knn", "probe"):
        scores = [run_command(command, "--workdir", path)[0]["scores"] for path in (trained, finished)]
        assert scores[0] == scores[1]
        assert json.loads((trained / "results" / f"{command}.json").read_text())["scores"] == scores[0]
    run_command("embed", "--workdir", trained, "--out", bucket / "features.npz")
    with (bucket / "features.npz").open("rb") as file:
        assert np.load(file)["features"].shape == (360, 16)
    run_command("export", "--workdir", trained, "--format", "torchvision", "--out", bucket / "exported")
    assert {path.name for path in (bucket / "exported").iterdir()} == {"README.md", "encoder.safetensors"}
    run_command("report", "--workdir", trained, "--no-images")
    assert "</html>" in (trained / "report.html").read_text()
    assert any((trained / "tensorboard").iterdir())


def test_a_bucket_that_does_not_exist_is_bad_input(bucket, config_file, run_command):
    for argv in (("status",), ("pretrain", "--config", config_file)):
        assert "does not exist" in run_command(*argv, "--workdir", "gs://other/run", code=2)[1]
    images = ("show-views", "--images", "gs://other/images", "--out", "x.png")
    assert "does not exist" in run_command(*images, code=2)[1]


def test_images_and_compiled_programs_are_read_from_a_bucket(bucket, tmp_path, run_command, config_file):
    with (bucket / "data" / "train.npz").open("wb") as file:
        np.savez(file, images=np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8))
    keys = {
        "data.name": "images",
        "data.data_dir": bucket / "data",
        "train.compilation_cache": bucket / "cache",
        "data.eval_split": "train",
        "monitor.every_epochs": 0,
        "checkpoint.every_epochs": 100,
    }
    argv = ("pretrain", "--config", config_file, *(f"--config.{key}={value}" for key, value in keys.items()))
    shared = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    jax_cache.reset_cache()
    try:
        losses = [run_command(*argv, "--workdir", tmp_path / name)[0]["loss"] for name in ("a", "b")]
    finally:
        jax.config.update("jax_compilation_cache_dir", shared)
        jax_cache.reset_cache()
    assert losses[0] == losses[1]
    assert any((bucket / "cache").glob("*/*-cache.*"))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(bucket, finished, config_file, run_command):
    workdir = bucket / "run"
    finish(start(["end_at_a_batch", "SIGKILL", 0, 21], "--workdir", workdir, devices=8), -signal.SIGKILL)
    newest = saved_run.checkpoint_steps(workdir)[-1]
    results, _ = run_command("pretrain", "--config", config_file, "--workdir", workdir)
    assert results["first_step"] == newest >= 6
    assert soak.differences(workdir, finished) == []


def test_a_bucket_out_of_reach_for_a_while_costs_checkpoints_but_no_row(
    bucket, finished, config_file, run_command, inject, impatient, monkeypatch
):
    workdir, fit = bucket / "run", pretraining.fit

    def interrupted(step, state, batches, *, num_steps, hooks):
        def hook(done, *_):
            if done == 9:
                while newest_step(workdir) != 6:
                    time.sleep(0.01)
            if done in (9, 19):
                inject(unreachable=done == 9)

        return fit(step, state, batches, num_steps=num_steps, hooks=[hook, *hooks])

    monkeypatch.setattr(pretraining, "fit", interrupted)
    monkeypatch.setattr(jsonl, "_INTERVAL_S", 0.5)
    unmonitored = "--config.monitor.every_epochs=0"
    _, stderr = run_command("pretrain", "--config", config_file, unmonitored, "--workdir", workdir)
    rows = [
        {row["step"]: row["loss"] for row in jsonl.read(path / "metrics.jsonl")[0] if "loss" in row}
        for path in (workdir, finished)
    ]
    assert rows[0] == rows[1]
    for step in (12, 18):
        assert f"warning: the checkpoint of step {step} is NOT saved: " in stderr
    assert saved_run.checkpoint_steps(workdir) == [6, 22]
    assert checksums.verify(workdir / "checkpoints" / "22") == []
    assert saved_run.saved_status(workdir)["state"] == "finished"


def test_a_run_whose_workdir_was_taken_over_stops(bucket, config_file, run_command, monkeypatch):
    def take_over(*_):
        monkeypatch.setattr(lease._Renewal, "check", lambda self: lost(self))

    lost = lease._Renewal.check

    def check(renewal):
        renewal._lost = True
        lost(renewal)

    monkeypatch.setattr(lease._Renewal, "check", check)
    argv = ("pretrain", "--config", config_file, "--workdir", bucket / "run")
    assert "taken over" in run_command(*argv, code=1)[1]
    assert saved_run.checkpoint_steps(bucket / "run") == []


@pytest.mark.slow
def test_two_processes_share_a_run_in_a_bucket(bucket, inject):
    inject(latency_s=0.05, failing=0.05)
    for number, part in enumerate((["end_at_a_batch", "SIGTERM", 1, 5], ["record_ids", "/tmp"])):
        both = start_two(part, "--workdir", bucket / "run", *TWO)
        errors = [finish(process, 143 if number == 0 else 0)[1] for process in both]
        assert not any("Traceback" in error for error in errors)
    assert saved_run.checkpoint_steps(bucket / "run")[-1] == 10
    for process in start_two(["record_ids", "/tmp"], "--workdir", bucket / "untouched", *TWO):
        finish(process)
    assert soak.differences(bucket / "run", bucket / "untouched") == []
