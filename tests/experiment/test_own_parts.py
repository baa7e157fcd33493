"""Runs of a user's own parts: each kind reaches the step, and a network of one's own passes every command."""

import dataclasses
import json
import pathlib
import shutil

import jax
from jax import export
import numpy as np
import optax
import own_parts
import pytest

from barlow_jax.config import parts
from barlow_jax.config.overrides import from_tree
from barlow_jax.config.schema import Data
from barlow_jax.config.training import Optim
from barlow_jax.data import splits
from barlow_jax.errors import UserError
from barlow_jax.experiment.pretrained import load
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.types import LossContext, Outputs, RunInfo

SHORT = (
    "--config.train.max_steps=4",
    "--config.train.log_every_steps=1",
    "--config.train.batch_size=64",
    "--config.checkpoint.every_epochs=0.09",
    "--config.monitor.every_epochs=0",
)


def test_an_own_optimizer_and_schedule_make_the_updates(small_config, typed):
    optim = Optim(name="own_parts:lion", schedule="own_parts:linear", bias_learning_rate=None)
    config = dataclasses.replace(typed(small_config), optim=optim)
    rates = optimizers.learning_rates(config, steps_per_epoch=10)
    peak = optim.learning_rate * config.train.batch_size / 256
    assert float(rates["weights"](10)) == pytest.approx(peak * (1 + optim.final_scale) / 2)
    optimizer = optimizers.make_optimizer(optim, rates)
    params = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    state = optimizer.init(params)
    gradients = jax.tree.map(lambda x: -3 * x, params)
    updates, state = optimizer.update(gradients, state, params)
    np.testing.assert_allclose(updates["kernel"], np.full((2, 2), peak), rtol=1e-6)
    assert optimizers.num_updates(state) == 1


def test_an_own_objective_is_called_and_must_return_one(small_config, typed):
    config = dataclasses.replace(typed(small_config).objective, name="own_parts:alignment", scale=2.0)
    outputs = {
        name: Outputs(None, np.full((3, 4), value, np.float32)) for name, value in (("a", 1), ("b", 4))
    }
    loss, _, _ = make_objective(config, RunInfo()).loss(outputs, {}, LossContext(np.zeros(3)))
    assert float(loss) == 18.0
    parts.register("objective", "no_objective", lambda config, run_info: optax.sgd(1.0))
    with pytest.raises(UserError):
        make_objective(dataclasses.replace(config, name="no_objective"), RunInfo())


def test_images_of_an_own_source_have_its_splits_and_labels():
    keys = {"channels": 5, "pixel_dtype": "float32", "value_range": "0,4000", "augment_on": "device"}
    data = Data("images", "own_parts:photographs", eval_split="test", image_size=8, eval_resize=8, **keys)
    train, test = (splits.open_split(data, name) for name in ("train", "test"))
    assert (train.num_examples, test.num_examples, test.class_names) == (20, 20, ["0", "1", "2", "3"])
    assert {*train.read_labels().tolist()} == {0, 2}
    (batch,) = test.eval_batches(data, batch_size=20, shard=splits.ProcessShard())
    assert batch.views["eval"].shape == (20, 8, 8, 5) and np.all(batch.index >= 0)


@pytest.mark.parametrize(
    "made", [{}, [1, 2], {"images": [np.zeros((2, 2))], "label": [1, 2]}, {"images": None}], ids=str
)
def test_a_source_that_returns_something_else_is_refused(made):
    parts.register("source", "wrong_source", lambda: made)
    with pytest.raises(UserError, match="wrong_source"):
        splits.open_split(Data("images", "wrong_source", augment_on="device"), "train")


@pytest.fixture
def argv(config_file):
    return lambda encoder, workdir: (
        *("pretrain", "--config", config_file, "--workdir", workdir, *SHORT),
        f"--config.network.encoder={encoder}",
    )


def test_a_fault_is_reported_before_anything_is_written(argv, run_command, tmp_path):
    for encoder in ("own_parts:Missing", "no_such_module:Net", "own_parts:photographs"):
        assert encoder in run_command(*argv(encoder, tmp_path / "run"), code=2)[1]
    assert not (tmp_path / "run").exists()


def test_a_registered_encoder_is_recorded_and_found_again(argv, run_command, tmp_path, monkeypatch):
    flags = (*argv("late_convnet", tmp_path / "run"), "--dry-run")
    assert "--import" in run_command(*flags, code=2)[1]
    file = tmp_path / "nets.py"
    file.write_text(
        "from own_parts import ConvNet\nfrom barlow_jax.config.parts import register_encoder\n"
        "register_encoder('late_convnet', ConvNet)\n"
    )
    results, _ = run_command(*flags, "--import", file)
    assert results["config"]["network"]["encoder"] == results["plan"]["network"] == "late_convnet"
    assert results["plan"]["parameters"]["encoder"] == 3 * 9 * 8 + 8 * 9 * 12 + 2 * (8 + 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ConvNet", "Transformer"])
def test_an_own_network_passes_every_command(name, argv, run_command, tmp_path, relative):
    file = tmp_path / "nets.py"
    shutil.copy(own_parts.__file__, file)
    run, train = tmp_path / "run", argv(f"{file}:{name}", tmp_path / "run")
    run_command(*train, "--config.mesh.projector=sharded", "--config.train.microbatches=2")

    def losses():
        rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    uninterrupted, whole = losses(), load(run)
    shutil.rmtree(run / "checkpoints" / "4")
    run_command(*train, "--config.mesh.projector=sharded", "--config.train.microbatches=2")
    assert losses() == uninterrupted and len(uninterrupted) == 4
    encoder = load(run)
    jax.tree.map(np.testing.assert_array_equal, encoder.params, whole.params)
    for command, flags in (
        ("knn", ()),
        ("probe", ()),
        ("finetune", ("--config.finetune.num_epochs=1", "--config.finetune.label_fractions=1.0")),
        ("embed", ("--split", "test", "--out", tmp_path / "features.npz")),
        ("report", ()),
        ("verify", ()),
    ):
        run_command(command, "--workdir", run, *flags)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    features = np.asarray(encoder(images))
    assert np.load(tmp_path / "features.npz")["features"].shape == (360, encoder.width)
    for form in ("orbax", "jax"):
        run_command("export", "--workdir", run, "--format", form, "--out", tmp_path / form)
    assert relative(np.asarray(load(tmp_path / "orbax")(images)), features) < 1e-6
    exported = export.deserialize(bytearray((tmp_path / "jax" / "encoder.jaxexport").read_bytes()))
    assert relative(np.asarray(exported.call(images)), features) < 1e-5
    run_command("knn", "--encoder", tmp_path / "orbax", "--workdir", tmp_path / "other")
    for form in ("torchvision", "timm"):
        argv_out = ("--format", form, "--out", tmp_path / form)
        assert name in run_command("export", "--workdir", run, *argv_out, code=2)[1]
        assert not pathlib.Path(tmp_path / form).exists()


def test_a_config_with_own_parts_is_read_back(small_config):
    tree = small_config.to_dict()
    tree["network"]["head"] = "own_parts:Head"
    assert from_tree(json.loads(json.dumps(tree)))[0].network.head == "own_parts:Head"
