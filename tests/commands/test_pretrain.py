import dataclasses
import json
import os
import re

import jax
import numpy as np
import pytest

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.experiment import dry_run
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.workdir import lock, saved_run


def _state(workdir, step):
    """Return the checkpoint of a step as host arrays."""
    tree = json.loads((workdir / "config.json").read_text())
    experiment = Experiment.from_config(overrides.from_tree(tree)[0])
    init = experiment.init(experiment.sampler(1437))
    with open_checkpoints(workdir) as checkpoints:
        return jax.device_get(checkpoints.restore(abstract_state(init), experiment.layout, step))


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_results_metrics_events_and_checkpoints(workdir):
    results = json.loads((workdir / "results" / "pretrain.json").read_text())
    assert results["step"] == 22 and results["first_step"] == 0 and results["epochs"] == 2
    assert np.isfinite(results["loss"]) and 0.1 < results["knn_top1"] <= 1
    rows = _rows(workdir)
    trained = [row for row in rows if "loss" in row]
    assert [row["step"] for row in trained] == list(range(2, 23, 2))
    names = {
        "invariance",
        "redundancy",
        "diagonal_mean",
        "off_diagonal_rms",
        "embedding_std_min",
        "embedding_std_mean",
        "embedding_spread",
        "skipped_steps",
        "images_per_second",
        "data_wait_fraction",
        "epoch",
        "gradient_norm",
        "learning_rate_weights",
        "learning_rate_biases",
    }
    assert names <= set(trained[0])
    assert [row["step"] for row in rows if "knn_top1" in row] == [11, 22]
    assert list((workdir / "tensorboard").glob("events.*"))
    with open_checkpoints(workdir) as checkpoints:
        assert checkpoints.steps == [18, 22]
    assert {path.name for path in workdir.iterdir()} == {
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "provenance.json",
        "results",
        "sinks",
        "status.json",
        "tensorboard",
    }


def test_an_interrupted_run_resumes_to_the_same_bits(workdir, tmp_path, config_file, run_command):
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path, "--config.monitor.every_epochs=0")
    run_command(*argv, "--config.train.max_steps=9")
    keep = "--config.checkpoint.keep_every_epochs=0.82"  # of 11 steps: 9
    results, stderr = run_command(*argv, keep, "--config.monitor.sinks=")  # the resumed start has none
    assert results["first_step"] == 9 and results["step"] == 22
    with open_checkpoints(tmp_path, keep_every_steps=9) as checkpoints:
        assert checkpoints.steps == [9, 18, 22], "the two newest, and every ninth"
    first, second = stderr.splitlines()[:2]
    assert "digits, 1437 images of 10 classes" in first and "resnet8" in first
    assert re.search(r"encoder 5,?\d{3} .*22 steps of 128 images on 8 x cpu", second)
    assert re.search(r"^step 10/22  loss \d", stderr, re.MULTILINE), "the first step of this start"
    assert "resuming from the checkpoint of step 9" in stderr
    jax.tree.map(np.testing.assert_array_equal, _state(tmp_path, 22), _state(workdir, 22))
    measured = ("images_per_second", "data_wait_fraction")
    one, other = (
        {
            row["step"]: {k: v for k, v in row.items() if k not in measured}
            for row in _rows(w)
            if "loss" in row
        }
        for w in (tmp_path, workdir)
    )
    assert {step: one[step] for step in other} == other


ON_DEVICE = (
    "--config.data.augment_on=device",
    "--config.recipe.views.a.jitter.probability=0.8",
    "--config.recipe.views.b.jitter.probability=0.8",
    "--config.recipe.views.a.blur.probability=1",
    "--config.monitor.every_epochs=0",
    "--config.train.max_steps=6",
)


@pytest.mark.slow
def test_a_run_that_augments_on_the_device_resumes_to_the_same_bits(tmp_path, config_file, run_command):
    argv = ("pretrain", "--config", config_file, *ON_DEVICE)
    whole, _ = run_command(*argv, "--workdir", tmp_path / "whole")
    run_command(*argv, "--workdir", tmp_path / "cut", "--config.train.max_steps=3")
    results, _ = run_command(*argv, "--workdir", tmp_path / "cut")
    assert results["first_step"] == 3 and results["loss"] == whole["loss"]
    jax.tree.map(np.testing.assert_array_equal, _state(tmp_path / "cut", 6), _state(tmp_path / "whole", 6))
    _, stderr = run_command(*argv, "--workdir", tmp_path / "cut", "--config.data.augment_on=host", code=2)
    assert "holds a run with config.data.augment_on = device, but the new value is host" in stderr


@pytest.mark.slow
def test_a_run_resumes_on_another_mesh_and_is_probed(tmp_path, config_file, run_command):
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path, "--config.train.microbatches=2")
    sharded = ("--config.mesh.projector=sharded", "--config.mesh.slices=2")
    before, _ = run_command(*argv, *sharded, "--config.train.max_steps=4")
    after, _ = run_command(*argv, "--config.mesh.projector=replicated", "--config.train.max_steps=8")
    assert (before["step"], after["first_step"], after["step"]) == (4, 4, 8)
    assert after["loss"] < before["loss"]
    probed, _ = run_command("probe", "--workdir", tmp_path, *sharded)
    assert probed["step"] == 8


def test_a_finished_run_stays_unchanged(workdir, run_command):
    before = _rows(workdir)
    results, _ = run_command("pretrain", "--workdir", workdir)
    assert results["first_step"] == results["step"] == 22
    assert _rows(workdir) == before


def test_another_config_on_the_workdir_is_refused_with_the_difference(workdir, config_file, run_command):
    before = (workdir / "config.json").read_text()
    _, stderr = run_command(
        "pretrain", "--config", config_file, "--workdir", workdir, "--config.optim.learning_rate=0.3", code=2
    )
    assert "holds a run with config.optim.learning_rate = 0.2, but the new value is 0.3" in stderr
    assert (workdir / "config.json").read_text() == before


def test_keys_that_do_not_affect_training_may_change(workdir, config_file, run_command):
    run_command("pretrain", "--config", config_file, "--workdir", workdir, "--config.train.log_every_steps=5")


def test_a_dry_run_prints_the_plan_and_leaves_nothing(tmp_path, config_file, run_command, finished):
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path / "run", "--dry-run")
    results, stderr = run_command(*argv)
    plan = results["plan"]
    assert plan["images"] == 1437 and plan["steps"] == 22 and plan["batch_size_per_device"] == 16
    assert plan["checkpoint_every_steps"] == 6 and plan["parameters"].keys() == {"encoder", "projector"}
    state = _state(finished, 22).nonempty_fields()
    assert plan["checkpoint_bytes"] == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    # Also the batch: each of 16 rows per device has two views of 8x8 pixels.
    assert plan["step_memory_bytes"] > plan["checkpoint_bytes"] + 16 * 2 * 8 * 8 * 3
    assert "config.optim.name" not in stderr and "encoder/conv/kernel" not in stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_names_what_an_extension_changes(workdir):
    saved, _ = overrides.from_tree(saved_run.saved_config(workdir))
    config = dataclasses.replace(saved, optim=dataclasses.replace(saved.optim, learning_rate=0.3))
    results = dry_run.dry_run(config, 1437, workdir, compiles=False, verbose=False)
    assert results["plan"]["changed"] == {"optim.learning_rate": [saved.optim.learning_rate, 0.3]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_verbose_dry_run_also_prints_config_and_parameters(name, config_file, run_command):
    change = f"--config.recipe.views.{name}.flip.probability=0.25"
    _, stderr = run_command("pretrain", "--config", config_file, "--dry-run", "--verbose", change)
    lines = stderr.splitlines()
    assert f"config.recipe.views.{name}.flip.probability = 0.25" in lines
    assert "encoder/conv/kernel" in stderr and "Total: " in stderr
    first = {
        word: next(i for i, line in enumerate(lines) if line.startswith(word))
        for word in ("steps", "config.")
    }
    assert first["steps"] < first["config."]


def test_interruption_leaves_no_half_written_file(tmp_path, config_file, run_command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("barlow_jax.experiment.pretraining.fit", interrupted)
    _, stderr = run_command("pretrain", "--config", config_file, "--workdir", tmp_path, code=130)
    assert "run the same command again" in stderr
    assert not list(tmp_path.rglob(".*")) and not (tmp_path / "results").exists()


DIVERGES = (
    "--config.optim.name=sgd",
    "--config.optim.learning_rate=1e30",
    "--config.monitor.every_epochs=0",
    "--config.train.log_every_steps=1",
    "--config.train.max_skipped_steps=3",
)


def test_a_diverging_run_stops_with_its_last_finite_state_and_the_images(tmp_path, config_file, run_command):
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path, *DIVERGES)
    _, stderr = run_command(*argv, code=1)
    report = json.loads((tmp_path / "results" / "skipped.json").read_text())
    steps, sampler = [row["step"] for row in report["skipped"]], EpochSampler(0, 1437, 128)
    assert (
        f"3 steps in a row, {steps[0]} to {steps[-1]}, were skipped" in stderr and "Traceback" not in stderr
    )
    for row in report["skipped"]:
        assert row["examples"] == sampler.batch(row["step"] - 1)[0].tolist()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    last = rows[-1]
    assert last["skipped_steps"] >= 3 and last["step"] == steps[-1] + 1
    with open_checkpoints(tmp_path) as checkpoints:
        (saved,) = checkpoints.steps
    state = _state(tmp_path, saved)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    _, stderr = run_command(*argv, code=1)
    assert (
        f"resuming from the checkpoint of step {saved}" in stderr
        and f"after step {saved} was saved before" in stderr
    )
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [saved]


def test_resume_refuses_before_anything_is_written(workdir, tmp_path, config_file, run_command):
    before = sorted(workdir.rglob("*"))
    _, stderr = run_command("pretrain", "--workdir", workdir, "--resume=never", code=2)
    assert "has checkpoints up to step 22; use another workdir, or --resume=auto" in stderr
    assert sorted(workdir.rglob("*")) == before
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path / "new")
    assert "has no checkpoint" in run_command(*argv, "--resume=must", code=2)[1]
    assert not (tmp_path / "new").exists()


def test_a_second_run_on_a_workdir_is_refused(workdir, run_command):
    before = (workdir / "config.json").stat().st_mtime_ns
    with lock.acquire(workdir):
        _, stderr = run_command("pretrain", "--workdir", workdir, code=2)
    assert f"another run is using {workdir}: process {os.getpid()} on" in stderr
    assert (workdir / "config.json").stat().st_mtime_ns == before
