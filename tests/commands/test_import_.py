"""`import`: weights of others as an encoder, and as the start of a run; the files are made by hand."""

import json

import jax
import numpy as np
from projector_state_dict import to_torch
import pytest
from resnet_state_dict import to_torchvision
from safetensors.numpy import load_file, save_file

from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.experiment import importing
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.interop import weights
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.workdir import provenance

COUNTER = "counter of batches, which is not used"


def _config(config_file, **changes):
    config, _ = load_config_file(config_file)
    config.update_from_flattened_dict(changes)
    return from_tree(config.to_dict())[0]


def _noise(config):
    """Arrays in the trees that the network makes, each of them another one; variances above 0."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: rng.uniform(0.1, 1, x.shape).astype(np.float32), Network(config.network).shapes()
    )


def _official(params, batch_stats):
    """Return the state dict of the official model in DistributedDataParallel."""
    model = to_torchvision(params["encoder"], batch_stats["encoder"])
    model = {f"backbone.{key}": tensor for key, tensor in model.items()}
    model |= to_torch(params["projector"], batch_stats["projector"])
    width = len(params["projector"]["layers"]) - 1
    width = params["projector"]["layers"][width]["kernel"].shape[1]
    model |= {"bn.running_mean": np.zeros(width), "bn.running_var": np.ones(width)}
    return {f"module.{key}": t for key, t in (model | {"bn.num_batches_tracked": np.array(7)}).items()}


@pytest.fixture(scope="module")
def trees(config_file):
    return _noise(_config(config_file))


@pytest.fixture(scope="module")
def full(trees, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "full.safetensors"
    save_file(_official(*trees), path)
    return path


@pytest.fixture(scope="module")
def alone(trees, tmp_path_factory):
    """With a classifier, as torchvision's are."""
    tensors = to_torchvision(*(tree["encoder"] for tree in trees))
    path = tmp_path_factory.mktemp("weights") / "alone.safetensors"
    save_file(tensors | {"fc.weight": np.ones((3, 16), np.float32), "fc.bias": np.ones(3, np.float32)}, path)
    return path


def _equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((one, other)))


def _encoder(workdir):
    config, _ = from_tree(json.loads((workdir / "config.json").read_text()))
    return Experiment.from_config(config).encoder_state(workdir, "pretrained")


def test_an_encoder_goes_in_bit_for_bit_and_its_network_is_the_files(
    run_command, config_file, trees, alone, tmp_path
):
    """The config's width is another one."""
    wide = tmp_path / "wide.py"
    wide.write_text(
        f"import runpy\ndef get_config():\n    config = runpy.run_path({config_file!r})['get_config']()\n"
        "    config.network.width = 16\n    return config\n"
    )
    results, said = run_command("import", "--weights", alone, "--config", wide, "--workdir", tmp_path / "in")
    assert (results["as"], results["step"]) == ("encoder", 0)
    assert results["encoder"] == {"encoder": "resnet8", "width": 4, "stem": "cifar"}
    assert results["ignored"].pop("fc.bias") == results["ignored"].pop("fc.weight") == "classifier"
    assert set(results["ignored"].values()) == {COUNTER}
    assert results["sha256"] == checksums.sha256(alone)
    assert "fc.bias" in said and COUNTER in said
    state = _encoder(tmp_path / "in")
    _equal((state.params["encoder"], state.batch_stats["encoder"]), tuple(tree["encoder"] for tree in trees))
    again = to_torchvision(*jax.device_get((state.params["encoder"], state.batch_stats["encoder"])))
    given = {key: tensor for key, tensor in load_file(alone).items() if not key.startswith("fc.")}
    assert all(again[key].tobytes() == tensor.tobytes() for key, tensor in given.items())
    assert run_command("verify", "--workdir", tmp_path / "in")[0]["intact"]
    (entry,) = provenance.read(tmp_path / "in")
    assert entry["devices"]["processes"] == 1
    assert json.loads((tmp_path / "in" / "results" / "import.json").read_text())["as"] == "encoder"


def test_of_a_full_checkpoint_the_encoder_alone(run_command, config_file, trees, full, tmp_path):
    argv = ("--weights", full, "--config", config_file, "--workdir", tmp_path / "in", "--as", "encoder")
    results, _ = run_command("import", *argv)
    assert results["as"] == "encoder" and results["projector"] is None
    assert results["ignored"]["projector.*"] == "--as encoder"
    assert "loss" in results["ignored"]["module.bn.running_mean"]
    _equal(_encoder(tmp_path / "in").params["encoder"], trees[0]["encoder"])


@pytest.fixture
def started(run_command, config_file, full, tmp_path):
    results, _ = run_command(
        "import", "--weights", full, "--config", config_file, "--workdir", tmp_path / "run"
    )
    assert (results["as"], results["projector"], results["initialized"]) == ("start", [16, 16], [])
    return tmp_path / "run"


def test_pretraining_starts_from_the_files_bits(run_command, trees, started, monkeypatch):
    met = {}

    def stop(step, state, feed, **_):
        met["state"] = jax.device_get(state)
        raise KeyboardInterrupt

    monkeypatch.setattr("barlow_jax.experiment.pretraining.fit", stop)
    _, said = run_command("pretrain", "--workdir", started, code=130)
    assert "resuming from the checkpoint of step 0" in said
    _equal((met["state"].params, met["state"].batch_stats), trees)
    assert int(met["state"].step) == 0 and not any(
        np.any(leaf) for leaf in jax.tree.leaves(met["state"].opt_state)
    )
    (row,) = run_command("verify", "--workdir", started)[0]["checkpoints"]
    assert (row["verdict"], row["holds"]) == ("intact", "run")


@pytest.mark.slow
def test_a_run_from_its_own_first_weights_is_that_run(run_command, config_file, workdir, tmp_path):
    """Bit for bit: a fresh state goes out as the official checkpoint, comes in, and learns the same."""
    experiment = Experiment.from_config(_config(config_file))
    fresh = jax.device_get(experiment.init(experiment.sampler(1437))(jax.random.key(0)))
    save_file(_official(fresh.params, fresh.batch_stats), tmp_path / "fresh.safetensors")
    argv = ("--config", config_file, "--workdir", tmp_path / "run")
    run_command("import", "--weights", tmp_path / "fresh.safetensors", *argv)
    results, _ = run_command("pretrain", *argv)
    assert (results["first_step"], results["step"]) == (0, 22)
    losses = []
    for run in (workdir, tmp_path / "run"):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses.append({row["step"]: row["loss"] for row in rows if "loss" in row})
    assert losses[0] == losses[1] and len(losses[0]) == 11


def test_without_a_projector_a_start_has_a_fresh_one(config_file, trees, alone):
    config = _config(config_file)
    state = importing.initial_state(config, weights.read(alone))
    experiment = Experiment.from_config(config)
    fresh = experiment.init(experiment.sampler(1437))(jax.random.key(config.seed))
    _equal(state.params, fresh.params | {"encoder": trees[0]["encoder"]})
    _equal(state.batch_stats, fresh.batch_stats | {"encoder": trees[1]["encoder"]})


@pytest.mark.parametrize("name", ["byol", "moco"])
def test_a_target_network_is_a_copy_of_the_file(config_file, trees, full, name):
    config = _config(config_file, **{"objective.name": name, "objective.moco.queue_size": 256})
    state = importing.initial_state(config, weights.read(full))
    _equal(state.target, {"params": trees[0], "batch_stats": trees[1]})
    assert bool(state.memory) == (name == "moco")


def test_averaged_weights_start_from_the_file(config_file, trees, full):
    state = importing.initial_state(_config(config_file, **{"train.average_decay": 0.9}), weights.read(full))
    _equal(state.evaluated(), trees)


def test_another_projector_is_refused_with_the_keys_to_set_or_left_out(
    run_command, config_file, full, tmp_path
):
    argv = ("--weights", full, "--config", config_file, "--workdir", tmp_path / "run")
    other = ("--config.network.projector=32,16", "--config.network.projector_biases=all")
    _, said = run_command("import", *argv, *other, code=2)
    assert "--config.network.projector=16,16 --config.network.projector_biases=none" in said
    assert not (tmp_path / "run").exists()
    results, said = run_command("import", *argv, *other, "--without-projector")
    assert results["projector"] is None and results["initialized"] == ["projector"]
    assert "not from the file: projector" in said


def test_a_workdir_with_a_run_is_refused_and_left_alone(run_command, config_file, full, workdir):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    _, said = run_command("import", "--weights", full, "--config", config_file, "--workdir", workdir, code=2)
    assert f"{workdir} already holds a run" in said
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_what_is_wrong_is_said_before_anything_is_written(run_command, config_file, alone, trees, tmp_path):
    argv = ("--config", config_file, "--workdir", tmp_path / "run")
    assert "--weights is missing" in run_command("import", *argv, code=2)[1]
    assert (
        "--weights: needs a file (.safetensors, .pth"
        in run_command("import", "--weights", tmp_path, *argv, code=2)[1]
    )
    assert "--config is missing" in run_command("import", "--weights", alone, code=2)[1]
    _, said = run_command("import", "--weights", alone, *argv, "--config.network.width=8", code=2)
    assert "config.network.width is 8, but the encoder in" in said
    tensors = to_torchvision(*(tree["encoder"] for tree in trees))
    del tensors["bn1.bias"]
    save_file(tensors | {"layer1.0.se.weight": np.ones(3)}, tmp_path / "other.safetensors")
    _, said = run_command("import", "--weights", tmp_path / "other.safetensors", *argv, code=2)
    assert "layer1.0.se.weight: unknown" in said and "bn1.bias: missing" in said
    assert not (tmp_path / "run").exists()
