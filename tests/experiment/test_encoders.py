"""--encoder: runs, checkpoints and files; the config that they come with, and errors."""

import json

import jax
import numpy as np
import pytest
from resnet_state_dict import to_torchvision
import safetensors.numpy
from score_records import by_fraction, measured

from barlow_jax.__main__ import main
from barlow_jax.config.overrides import from_tree
from barlow_jax.experiment.experiment import Experiment

WIDE = """
import runpy

def get_config():
    config = runpy.run_path({base!r})["get_config"]()
    config.network.width = 16
    for view in config.recipe.views.values():
        view.crop.min_area = 0.5
        #view.normalize.mean = (9.0, 9.0, 9.0)
    return config
"""


@pytest.fixture(scope="module")
def own(workdir):
    """Results of `knn` on the run itself."""
    assert main(["knn", "--workdir", str(workdir)]) == 0
    return json.loads((workdir / "results" / "knn.json").read_text())


def test_an_encoder_comes_with_its_network_normalization_and_data(workdir, own, run_command, tmp_path):
    other, _ = run_command("knn", "--encoder", workdir, "--workdir", tmp_path)
    assert measured(other) == measured(own) and other["encoder"] == str(workdir)
    assert json.loads((tmp_path / "results" / "knn.json").read_text()) == other
    assert not (tmp_path / "config.json").exists() and not (tmp_path / "checkpoints").exists()


def test_with_a_config_its_data_are_used_and_the_encoders_network(
    workdir, own, run_command, tmp_path, config_file
):
    """The config has another width; that of the run is used."""
    wide = tmp_path / "wide.py"
    wide.write_text(WIDE.format(base=config_file).replace("#", ""))
    other, _ = run_command("knn", "--config", wide, "--encoder", workdir, "--workdir", tmp_path / "out")
    assert measured(other) == measured(own)


def test_a_checkpoint_is_named_by_its_folder(workdir, run_command, tmp_path):
    argv = ("--workdir", tmp_path, "--config.knn.label_fractions=1", "--config.knn.k=20")
    early, _ = run_command("knn", "--encoder", workdir / "checkpoints" / "18", *argv)
    late, _ = run_command("knn", "--encoder", workdir / "checkpoints" / "22", *argv)
    assert (early["step"], late["step"]) == (18, 22)


def test_a_file_in_torchvisions_layout_is_the_run_that_it_came_from(
    workdir, own, run_command, tmp_path, config_file
):
    """The config has another width; that of the file is used."""
    config, _ = from_tree(json.loads((workdir / "config.json").read_text()))
    state = Experiment.from_config(config).encoder_state(workdir, "pretrained")
    params, stats = jax.device_get((state.params["encoder"], state.batch_stats["encoder"]))
    path = tmp_path / "encoder.safetensors"
    safetensors.numpy.save_file(to_torchvision(params, stats), path)
    wide = tmp_path / "wide.py"
    wide.write_text(WIDE.format(base=config_file))
    argv = ("--config", wide, "--workdir", tmp_path)
    other, _ = run_command("knn", "--encoder", path, *argv)
    assert measured(other) == measured(own) | {"step": -1}
    fast = ("--config.finetune.num_epochs=2", "--config.finetune.subset_repeats=1")
    fraction = "--config.finetune.label_fractions=0.1"
    tuned, _ = run_command("finetune", "--encoder", path, *argv, fraction, *fast)
    assert by_fraction(tuned)[0.1] > 0
    whole = {f"module.backbone.{key}": tensor for key, tensor in to_torchvision(params, stats).items()}
    safetensors.numpy.save_file(whole | {"module.projector.0.weight": np.ones((4, 16), np.float32)}, path)
    official, _ = run_command("knn", "--encoder", path, *argv)
    assert measured(official) == measured(other), "only the encoder of an official checkpoint is read"
    path.write_bytes(b"not safetensors")
    _, stderr = run_command("knn", "--encoder", path, *argv, code=2)
    assert str(path) in stderr


def test_a_file_of_torch_that_cannot_be_read_is_named(run_command, tmp_path, config_file):
    """Without torch, the message says that it is needed; with torch, that the file is damaged."""
    (tmp_path / "encoder.pth").write_bytes(b"")
    argv = ("--config", config_file, "--workdir", tmp_path / "out", "--encoder", tmp_path / "encoder.pth")
    _, stderr = run_command("knn", *argv, code=2)
    assert f"{tmp_path / 'encoder.pth'}: " in stderr and ("needs torch" in stderr or "damaged" in stderr)
    assert not (tmp_path / "out").exists()


def test_an_encoder_of_another_shape_is_refused(workdir, run_command):
    _, stderr = run_command("knn", "--workdir", workdir, "--config.network.width=8", code=2)
    assert "config.network.width is 8, but the encoder in" in stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "holds no encoder. Pass the workdir of a run"),
        ("checkpoints/7", "holds no checkpoint of step 7. Choose one of 18, 22"),
    ],
)
def test_a_path_without_an_encoder_is_named(workdir, run_command, tmp_path, name, words):
    _, stderr = run_command("knn", "--encoder", workdir / name, "--workdir", tmp_path / "out", code=2)
    assert words in stderr and not (tmp_path / "out").exists()
