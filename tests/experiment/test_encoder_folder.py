"""An encoder folder instead of a run: commands that accept it, and commands that refuse it."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from score_records import measured

from barlow_jax.config.overrides import from_tree
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.pretrained import load
from barlow_jax.interop import export_orbax
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.workdir import provenance


@pytest.fixture(scope="module")
def written(workdir, tmp_path_factory):
    """Folder with the encoder of the run's newest checkpoint."""
    config, _ = from_tree(json.loads((workdir / "config.json").read_text()))
    state = Experiment.from_config(config).encoder_state(workdir, "pretrained")
    trees = jax.device_get((state.params, state.batch_stats))
    folder = tmp_path_factory.mktemp("encoder")
    export_orbax.write(TrainedEncoder(config, *trees, state.step, provenance.read(workdir)), folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "encoder")


def _files(workdir):
    return {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_it_is_evaluated_like_the_run(workdir, folder, run_command, tmp_path):
    fast = ("--config.knn.label_fractions=1", "--config.knn.k=20")
    own = measured(run_command("knn", "--workdir", workdir, *fast)[0])
    assert measured(run_command("knn", "--workdir", folder, *fast)[0]) == own
    other, _ = run_command("knn", "--encoder", folder, "--workdir", tmp_path / "other", *fast)
    assert measured(other) == own and other["encoder"] == str(folder)
    assert (
        run_command("probe", "--dry-run", "--encoder", folder / "checkpoints" / "22")[0]["config"]["network"][
            "width"
        ]
        == 4
    )


@pytest.mark.slow  # `test_it_is_evaluated_like_the_run` reads the same encoder
def test_it_is_fine_tuned_like_the_run(workdir, folder, run_command):
    fast = (
        "--config.finetune.label_fractions=0.1",
        "--config.finetune.num_epochs=1",
        "--config.finetune.subset_repeats=1",
    )
    other, own = (run_command("finetune", "--workdir", path, *fast)[0] for path in (folder, workdir))
    assert measured(other) == measured(own)


def test_it_is_verified(folder, run_command):
    results, stderr = run_command("verify", "--workdir", folder)
    (row,) = results["checkpoints"]
    assert results["intact"] and (row["step"], row["holds"], row["verdict"]) == (22, "encoder", "intact")
    assert stderr.splitlines()[-1].endswith("intact, encoder only")
    (data, *_) = (folder / "checkpoints/22/default/d").iterdir()
    data.write_bytes(data.read_bytes()[:-1])
    _, stderr = run_command("verify", "--workdir", folder, code=1)
    assert "damaged: default/d/" in stderr


def test_verify_names_the_differences_from_another_network(folder, run_command):
    _, stderr = run_command("verify", "--workdir", folder, "--config.network.width=8", code=1)
    assert (
        "batch_stats.encoder.norm.mean is float32[4] in the checkpoint, float32[8] in this network" in stderr
    )


def test_pretraining_refuses_it_and_changes_nothing(folder, run_command):
    before = _files(folder)
    _, stderr = run_command("pretrain", "--workdir", folder, code=2)
    assert (
        "holds only an encoder" in stderr
        and "Use another workdir" in stderr
        and "import --as start" in stderr
    )
    assert _files(folder) == before


def test_the_documented_lines_load_it(folder):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    names = {"images": images}
    exec("\n".join(export_orbax.LOAD).replace("{out}", str(folder)), names)
    np.testing.assert_array_equal(names["features"], load(folder)(images))


def test_loading_gives_the_features_of_the_run(workdir, folder):
    """Against the run's own encoder on eight devices; one device and eight agree to 1e-5."""
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    config, _ = from_tree(json.loads((workdir / "config.json").read_text()))
    experiment = Experiment.from_config(config)
    encode, step = experiment.encoder(workdir, "pretrained")
    expected = np.asarray(encode(np.repeat(images, 8, 0)))[::8]
    for where in (workdir, folder, workdir / "checkpoints" / "22"):
        encoder = load(where)
        assert (encoder.step, encoder.image_size, encoder.width) == (step, 8, expected.shape[1])
        np.testing.assert_allclose(encoder(images), expected, rtol=1e-5, atol=1e-6)
    assert dataclasses.replace(encoder.config, mesh=config.mesh) == config
