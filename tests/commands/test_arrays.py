"""Runs on arrays through the entry point: without TensorFlow, and with the images on the devices."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from score_records import by_fraction
from sklearn.datasets import load_digits

from barlow_jax.__main__ import main
from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.experiment.experiment import Experiment

TRAIN = 300
FLAGS = (
    "--config.data.augment_on=device",
    "--config.data.canvas=8",
    "--config.train.batch_size=64",
    "--config.eval_batch_size=64",
    "--config.train.max_steps=6",
    "--config.checkpoint.every_epochs=10",
    "--config.monitor.every_epochs=0",
)
ALONE = """
import sys
unpickled = []
sys.addaudithook(lambda event, args: unpickled.append(args) if event == "pickle.find_class" else None)
sys.modules.update(tensorflow=None, tensorflow_datasets=None)  # importing them is an ImportError
from barlow_jax.distributed import cluster
from barlow_jax.__main__ import main
cluster.join = lambda *_: None  # which one process may do once
codes = [main(argv.split("|")) for argv in sys.argv[1:]]
assert not any(codes), codes
assert not unpickled, unpickled  # data from others is never code
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The digits, grey; a seventh of them tests."""
    root, digits = tmp_path_factory.mktemp("arrays"), load_digits()
    levels = (digits.images * 15).astype(np.uint8)
    np.savez(root / "train.npz", images=levels[:TRAIN], labels=digits.target[:TRAIN])
    np.savez_compressed(root / "test.npz", images=levels[TRAIN:350], labels=digits.target[TRAIN:350])
    return root


@pytest.fixture(scope="module")
def argv(folder, config_file):
    where = ("--config.data.name=arrays", f"--config.data.data_dir={folder}")
    return ("pretrain", "--config", config_file, *FLAGS, *where)


@pytest.fixture(scope="module")
def trained(argv, tmp_path_factory):
    """The workdir of a run of six steps."""
    path = tmp_path_factory.mktemp("trained")
    assert main([*argv, "--workdir", str(path)]) == 0
    return path


def _state(workdir, step):
    experiment = Experiment.from_config(
        overrides.from_tree(json.loads((workdir / "config.json").read_text()))[0]
    )
    init = experiment.init(experiment.sampler(TRAIN))
    with open_checkpoints(workdir) as checkpoints:
        return jax.device_get(checkpoints.restore(abstract_state(init), experiment.layout, step))


def test_a_run_is_trained_and_judged_where_tensorflow_is_not_installed(argv, tmp_path):
    workdir = ("--workdir", str(tmp_path))
    commands = ((*argv, "--config.train.max_steps=4", "--config.monitor.every_epochs=1"), ("knn",))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *("|".join((*argv, *workdir)) for argv in commands)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pretrained, judged = (json.loads(line) for line in done.stdout.splitlines())
    assert pretrained["step"] == judged["step"] == 4
    assert np.isfinite(pretrained["loss"]) and by_fraction(judged, k=20)[1.0] > 30
    assert list((tmp_path / "tensorboard").glob("events.*"))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["knn_top1"] == pretrained["knn_top1"]


def test_images_on_the_devices_give_the_bits_of_those_of_the_host(argv, trained, tmp_path, run_command):
    run_command(*argv, "--workdir", tmp_path, "--config.data.cache=decoded")
    jax.tree.map(np.testing.assert_array_equal, _state(tmp_path, 6), _state(trained, 6))


@pytest.mark.slow
def test_a_run_goes_on_with_images_on_the_devices(argv, trained, tmp_path, run_command):
    run_command(*argv, "--workdir", tmp_path, "--config.train.max_steps=2")
    results, _ = run_command(*argv, "--workdir", tmp_path, "--config.data.cache=decoded")
    assert results["first_step"] == 2
    jax.tree.map(np.testing.assert_array_equal, _state(tmp_path, 6), _state(trained, 6))


@pytest.mark.slow
def test_classifiers_are_trained_on_arrays(trained, run_command):
    flags = ("--config.finetune.label_fractions=0.5", "--config.finetune.num_epochs=1")
    results, _ = run_command("finetune", "--workdir", trained, *flags, "--config.finetune.batch_size=64")
    assert set(by_fraction(results)) == {0.5}
    flags = ("--config.probe.augment=true", "--config.probe.num_epochs=30", "--config.probe.batch_size=60")
    results, _ = run_command("probe", "--workdir", trained, *flags, "--config.probe.label_fractions=1")
    assert by_fraction(results)[1.0] > 30


def test_their_views_are_shown_as_the_devices_make_them(argv, tmp_path, run_command):
    _, *flags = argv
    results, _ = run_command(
        "show-views", *flags, "--config.data.cache=decoded", "--out", tmp_path / "views.png", "--rows", 3
    )
    assert results["columns"] == ["original", "view a, device", "view b, device"]


def test_arrays_on_the_host_are_refused_with_the_remedy(argv, tmp_path, run_command):
    _, said = run_command(*argv, "--workdir", tmp_path, "--config.data.augment_on=host", code=2)
    assert "config.data.augment_on=device" in said and not list(tmp_path.iterdir())
