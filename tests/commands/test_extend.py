"""`pretrain --extend`: more epochs, another batch size, and what stays refused."""

import json
import shutil

import pytest

from barlow_jax.config.overrides import from_tree
from barlow_jax.optim import optimizers
from barlow_jax.workdir import provenance, saved_run

WITHOUT_KNN = "--config.monitor.every_epochs=0"
# Half an epoch of 22 steps after the 22 steps of the finished run.
EXTENDED = (
    "--extend",
    "--config.train.batch_size=64",
    "--config.train.num_epochs=2.5",
    "--config.train.log_every_steps=1",
    WITHOUT_KNN,
)


@pytest.fixture(scope="module")
def finished_copy(finished, tmp_path_factory):
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "run")


def _rows(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    measured = ("images_per_second", "data_wait_fraction")
    return [{k: v for k, v in row.items() if k not in measured} for row in rows]


def _config(workdir):
    config, problems = from_tree(json.loads((workdir / "config.json").read_text()))
    assert not problems
    return config


def _files(workdir):
    return {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_a_finished_run_is_extended(finished_copy, run_command):
    before = _rows(finished_copy)
    results, _ = run_command("pretrain", "--workdir", finished_copy, *EXTENDED)
    assert (results["first_step"], results["step"], results["epochs"]) == (22, 33, 2.5)
    rows = _rows(finished_copy)
    assert rows[: len(before)] == before
    # At epoch e, the rate is that of the new config at epoch e.
    rates = optimizers.learning_rates(_config(finished_copy), steps_per_epoch=22)
    for row in rows[len(before) :]:
        steps = row["step"] - 22
        assert row["epoch"] == (44 + steps) / 22
        assert row["learning_rate_weights"] == float(rates["weights"](44 + steps - 1))
    entry = provenance.read(finished_copy)[-1]
    changed = {"train.batch_size": [128, 64], "train.num_epochs": [2.0, 2.5]}
    assert entry["segment"] == {"step": 22, "epoch": 2.0, "changed": changed}
    # The same command would resume: nothing is left to extend.
    assert saved_run.changes(finished_copy, _config(finished_copy)) == {}


@pytest.mark.slow
def test_an_extension_resumes_to_the_same_bits(finished, tmp_path, run_command):
    for name in ("whole", "cut"):
        shutil.copytree(finished, tmp_path / name)
    run_command("pretrain", "--workdir", tmp_path / "whole", *EXTENDED)
    argv = ("pretrain", "--workdir", tmp_path / "cut")
    run_command(*argv, *EXTENDED, "--config.train.max_steps=27")
    results, _ = run_command(*argv, "--config.train.max_steps=none")
    assert (results["first_step"], results["step"]) == (27, 33)
    assert _rows(tmp_path / "cut") == _rows(tmp_path / "whole")


@pytest.mark.parametrize(
    "flags",
    [
        ("--config.train.num_epochs=3",),
        ("--extend", "--config.network.width=8"),
        ("--extend", "--config.optim.name=sgd"),
        ("--extend", "--config.train.num_epochs=1"),
        ("--config.train.max_steps=5",),
    ],
)
def test_what_is_refused_changes_nothing(finished, run_command, flags):
    before = _files(finished)
    _, stderr = run_command("pretrain", "--workdir", finished, *flags, code=2)
    assert _files(finished) == before
    assert flags[-1].removeprefix("--config.").partition("=")[0] in stderr


def _change_recorded_data(workdir, **changes):
    """Let the record of the run say that it was trained on other images."""
    path = workdir / provenance.FILE
    entries = json.loads(path.read_text())
    entries[-1]["data"]["train"] |= changes
    path.write_text(json.dumps(entries))


def test_other_images_than_the_runs_are_refused_and_extend_accepts_them(workdir, run_command):
    entry = provenance.read(workdir)[-1]
    data = entry["data"]
    assert (data["train"]["images"], data["test"]["images"]) == (1437, 360)
    _change_recorded_data(workdir, images=958)
    before = _files(workdir)
    _, stderr = run_command("pretrain", "--workdir", workdir, code=2)
    assert "958 images" in stderr and "1437 images" in stderr and "--extend" in stderr
    assert _files(workdir) == before
    _change_recorded_data(workdir, images=1437, digest="0" * 32)
    run_command("pretrain", "--workdir", workdir, code=2)
    # The run is finished: with other images, too, there is nothing left to train.
    rows = _rows(workdir)
    for flags in (["--extend"], []):
        results, _ = run_command("pretrain", "--workdir", workdir, *flags)
        assert (results["first_step"], results["step"]) == (22, 22) and _rows(workdir) == rows
        entry = provenance.read(workdir)[-1]
        assert entry["data"] == data and entry["segment"]["step"] == 22
        ((name, (old, new)),) = entry["segment"]["changed"].items()
        assert name == "split train" and "00000000" in old and data["train"]["digest"][:8] in new
