"""--encoder: another run, one of its checkpoints; what it brings with it, and what is wrong with it."""

import json

import pytest


def test_an_encoder_brings_its_network_normalisation_and_data(workdir, program, tmp_path):
    own, _ = program("knn", "--workdir", workdir)
    other, _ = program("knn", "--encoder", workdir, "--workdir", tmp_path)
    assert other == own
    assert json.loads((tmp_path / "results" / "knn.json").read_text()) == own
    assert not (tmp_path / "config.json").exists() and not (tmp_path / "checkpoints").exists()


def test_with_a_config_its_data_are_used_and_the_encoders_network(workdir, program, tmp_path, config_file):
    """The config has another width; the run's is what its arrays fit."""
    wide = tmp_path / "wide.py"
    wide.write_text(
        f"import runpy\ndef get_config():\n    config = runpy.run_path({config_file!r})['get_config']()\n"
        "    config.network.width = 16\n    config.knn.k = (3,)\n    config.knn.label_fractions = (1.0,)\n"
        "    for view in config.recipe.views.values():\n        view.normalize.mean = (9.0, 9.0, 9.0)\n    return config\n"
    )
    own, _ = program("knn", "--workdir", workdir, "--config.knn.k=3", "--config.knn.label_fractions=1")
    other, _ = program("knn", "--config", wide, "--encoder", workdir, "--workdir", tmp_path / "out")
    assert other == own


def test_a_checkpoint_is_named_by_its_folder(workdir, program, tmp_path):
    argv = ("--workdir", tmp_path, "--config.knn.label_fractions=1", "--config.knn.k=20")
    early, _ = program("knn", "--encoder", workdir / "checkpoints" / "18", *argv)
    late, _ = program("knn", "--encoder", workdir / "checkpoints" / "22", *argv)
    assert (early["step"], late["step"]) == (18, 22)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "holds no encoder; pass the workdir of a run"),
        ("checkpoints/7", "holds no checkpoint of step 7; it has 18, 22"),
    ],
)
def test_what_is_no_encoder_is_named(workdir, program, tmp_path, name, words):
    _, said = program("knn", "--encoder", workdir / name, "--workdir", tmp_path / "out", code=2)
    assert words in said and not (tmp_path / "out").exists()
