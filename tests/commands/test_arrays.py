"""Runs on the package's own data through the entry point: without TensorFlow, and on the devices."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
from PIL import Image
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
assert codes == [0] * (len(codes) - 1) + [2], codes  # TFDS data alone need it
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
    where = ("--config.data.name=images", f"--config.data.data_dir={folder}")
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


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory):
    """The same digits as <split>/<class>/<image>."""
    root, digits = tmp_path_factory.mktemp("folders"), load_digits()
    for number in range(350):
        path = root / ("train" if number < TRAIN else "val") / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(path)
    return root


def test_digits_folders_and_arrays_need_no_tensorflow(
    folder, class_folders, config_file, tmp_path, pytestconfig
):
    """All have 300 images of 8 pixels, so that they share the compiled programs."""
    sources = {
        "digits": ("name=digits", f"train_split=train[:{TRAIN}]", "eval_split=test[:50]"),
        "arrays": ("name=images", f"data_dir={folder}"),
        "folders": ("name=images", f"data_dir={class_folders}", "labels=folders", "eval_split=val"),
    }
    commands = []
    for name, flags in sources.items():
        data = (f"--config.data.{flag}" for flag in flags)
        short = ("--config.train.max_steps=2", "--config.monitor.every_epochs=0", *FLAGS[2:4])
        commands.append(("pretrain", "--config", config_file, "--workdir", tmp_path / name, *short, *data))
        commands.append(("knn", "--workdir", tmp_path / name))
    commands.append(("probe", "--workdir", tmp_path / "folders"))
    commands.append(("knn", "--workdir", tmp_path / "digits", "--config.data.name=cifar10"))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *("|".join(map(str, argv)) for argv in commands)],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(pytestconfig.cache.mkdir("compiled"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pip install tensorflow tensorflow-datasets" in done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["step"] for result in results] == [2] * 7
    for judged in results[1:6:2]:
        assert by_fraction(judged, k=20)[1.0] > 25
        assert (judged["data"]["train_images"], judged["data"]["eval_images"]) == (TRAIN, 50)
    assert list((tmp_path / "digits/tensorboard").glob("events.*"))


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


def test_their_views_are_shown_as_host_and_devices_make_them(argv, tmp_path, run_command):
    _, *flags = argv
    results, _ = run_command(
        "show-views", *flags, "--config.data.cache=decoded", "--out", tmp_path / "views.png", "--rows", 3
    )
    pairs = [f"view {name}, {where}" for name in "ab" for where in ("device", "host")]
    assert results["columns"] == ["original", *pairs]
