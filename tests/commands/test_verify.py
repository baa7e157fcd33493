"""`verify`: every checkpoint of a run in one table, and an exit code."""

import json
import shutil

import jax
import jax.numpy as jnp
import pytest
from score_records import measured

from barlow_jax.commands import verify
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import checksums


@pytest.fixture
def copy(workdir, tmp_path):
    """A run with the checkpoints of steps 18 and 22, to be damaged."""
    return shutil.copytree(workdir, tmp_path / "copy")


def _files(workdir):
    return {
        path: path.read_bytes()
        for path in workdir.rglob("*")
        if path.is_file() and "results" not in path.parts
    }


def _damage(workdir, step):
    path = next(p for p in (workdir / "checkpoints" / str(step) / "default" / "d").iterdir())
    path.write_bytes(path.read_bytes()[:-1])


def test_a_sound_run_is_good_and_untouched(copy, run_command):
    before = _files(copy)
    results, said = run_command("verify", "--workdir", copy)
    assert results["intact"] and results["newest_usable"] == 22
    assert [(row["step"], row["verdict"]) for row in results["checkpoints"]] == [
        (18, "intact"),
        (22, "intact"),
    ]
    assert sum(line.endswith("  intact") for line in said.splitlines()) == 2
    assert json.loads((copy / "results" / "verify.json").read_text()) == results
    assert _files(copy) == before


@pytest.mark.parametrize("step", [18, 22])
def test_a_damaged_checkpoint_is_named_and_the_exit_code_is_one(copy, run_command, step):
    _damage(copy, step)
    _, said = run_command("verify", "--workdir", copy, code=1)
    (line,) = [line for line in said.splitlines() if "damaged: default/d/" in line]
    assert line.split()[0] == str(step) and "bytes instead of" in line
    results = json.loads((copy / "results" / "verify.json").read_text())
    assert not results["intact"] and results["newest_usable"] == (22 if step == 18 else 18)


def test_a_checkpoint_without_digests_is_unverified_and_not_called_good(copy, run_command):
    (copy / "checkpoints" / "18" / checksums.FILE).unlink()
    _, said = run_command("verify", "--workdir", copy, code=1)
    assert "unverified: has no checksums" in said


def test_a_checkpoint_of_another_network_is_named_with_the_difference(copy, run_command):
    _, said = run_command("verify", "--workdir", copy, "--config.network.width=8", code=1)
    assert "batch_stats.encoder.norm.mean is float32[4] in the checkpoint, float32[8] in this network" in said


def test_it_needs_neither_the_data_nor_the_devices_of_the_run(copy, run_command):
    config = json.loads((copy / "config.json").read_text())
    config["data"] |= {"name": "images", "data_dir": "/nowhere"}
    config["mesh"]["slices"] = 256
    (copy / "config.json").write_text(json.dumps(config))
    assert run_command("verify", "--workdir", copy)[0]["intact"]


def test_what_cannot_be_verified_is_said(tmp_path, copy, run_command):
    assert "--workdir is missing" in run_command("verify", code=2)[1]
    assert "holds no run" in run_command("verify", "--workdir", tmp_path / "nowhere", code=2)[1]
    shutil.rmtree(copy / "checkpoints")
    assert "holds no checkpoint to verify" in run_command("verify", "--workdir", copy, code=2)[1]


def test_evaluations_take_the_newest_good_one_and_refuse_a_damaged_one_by_name(copy, run_command, tmp_path):
    flags = ("--config.knn.label_fractions=1", "--config.knn.k=20")
    whole, _ = run_command(
        "knn", "--encoder", copy / "checkpoints" / "18", "--workdir", tmp_path / "a", *flags
    )
    _damage(copy, 22)
    results, said = run_command("knn", "--workdir", copy, *flags)
    assert measured(results) == measured(whole) and results["step"] == 18
    assert "warning: skipped damaged checkpoints: step 22: default/d/" in said
    assert (copy / "checkpoints" / "22").is_dir()
    _, said = run_command(
        "knn", "--encoder", copy / "checkpoints" / "22", "--workdir", tmp_path / "b", *flags, code=2
    )
    assert "checkpoints/22 is damaged: default/d/" in said


def _loss(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row][-1]


def test_pretraining_goes_on_from_the_newest_good_one_to_the_same_bits(copy, workdir, run_command):
    _damage(copy, 22)
    results, said = run_command("pretrain", "--workdir", copy, "--config.monitor.every_epochs=0")
    assert (results["first_step"], results["step"]) == (18, 22)
    assert "step 22: default/d/" in said and "resuming from the checkpoint of step 18" in said
    assert _loss(copy) == _loss(workdir)
    assert run_command("verify", "--workdir", copy)[0]["intact"]


def test_pretraining_with_no_good_checkpoint_is_refused_and_leaves_all_as_it_is(copy, run_command):
    _damage(copy, 18), _damage(copy, 22)
    before = _files(copy)
    _, said = run_command("pretrain", "--workdir", copy, code=2)
    assert "holds no usable checkpoint" in said and "step 18:" in said and "step 22:" in said
    assert _files(copy) == before


def test_averaged_weights_and_the_optimizer_of_adapt_are_parts_of_the_state(small_config, typed, tmp_path):
    config = typed(small_config)
    averaged = config.replace({"train.average_decay": 0.9, "adapt.weights": str(tmp_path / "encoder")})
    plain, both = (verify._abstract(c, tmp_path) for c in (config, averaged))
    experiment = Experiment.from_config(averaged)
    state = jax.eval_shape(experiment.init(experiment.sampler(config.train.batch_size)), jax.random.key(0))
    assert both.keys() - plain.keys() == {"average"}
    assert jax.tree.map(jnp.shape, both) == jax.tree.map(jnp.shape, state.nonempty_fields())
