"""`pretrain --images`: what is chosen, measured and refused, and that a run resumes with its own settings."""

import json

import numpy as np
from PIL import Image
import pytest

from barlow_jax.__main__ import main
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.data import splits
from barlow_jax.experiment import own_images
from barlow_jax.experiment.choices import Devices

SMALL = (
    "--config.network.width=4",
    "--config.network.projector=16,16",
    "--config.train.max_steps=2",
    "--config.train.compilation_cache=none",
    "--config.monitor.max_images=16",
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of 40 images of 8 x 8 pixels in two folders."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(40):
        (root / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "ab"[number % 2] / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(photographs, tmp_path_factory):
    """The words of a command, and the workdir of the run that it has trained."""
    workdir = tmp_path_factory.mktemp("run")
    words = ["pretrain", "--images", str(photographs), "--labels", "folders", *SMALL]
    words += ["--workdir", str(workdir)]
    assert main(words) == 0
    return words, workdir


def _config(workdir):
    return json.loads((workdir / "config.json").read_text())


def test_nothing_but_images_and_workdir_is_required(run, photographs):
    config = _config(run[1])
    assert (
        config["data"] | {"data_dir": str(photographs), "image_size": 8, "name": "images"} == config["data"]
    )
    assert (config["data"]["pixel_dtype"], config["data"]["labels"]) == ("uint8", "folders")
    assert config["train"]["batch_size"] == 32 and config["optim"]["learning_rate"] == 0.016
    assert config["network"]["width"] == 4 and config["network"]["dtype"] == "float32"
    assert config["checkpoint"]["every_minutes"] == 15 and config["monitor"]["every_epochs"] == 60
    mean = np.array(config["recipe"]["views"]["a"]["normalize"]["mean"])
    assert np.abs(mean - 0.5).max() < 0.03
    rows = [json.loads(line) for line in (run[1] / "metrics.jsonl").read_text().splitlines()]
    assert any("knn_top1" in row for row in rows)


def test_the_same_command_resumes_with_the_settings_of_the_run(run, run_command, monkeypatch):
    words, workdir = run
    before = _config(workdir)
    monkeypatch.setattr(own_images, "choose", None)  # it would fail
    results, _ = run_command(*words)
    assert (results["first_step"], results["step"]) == (2, 2) and _config(workdir) == before


def test_evaluations_and_embeddings_of_such_a_run(run, run_command, photographs, tmp_path):
    _, workdir = run
    results, _ = run_command("knn", "--workdir", workdir, "--config.knn.k=5")
    assert results["data"]["num_classes"] == 2
    results, _ = run_command(
        "embed", "--workdir", workdir, "--images", photographs, "--out", tmp_path / "all.npz"
    )
    assert results["images"] == 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "{tmp}/none"), "does not exist"),
        (("--images", "{tmp}/empty"), "has 0 images"),
        (("--images", "{tmp}/one"), "2 or more are needed"),
        (("--images", "{tmp}/broken"), "none that can be decoded"),
        (("--images", "{photographs}", "--labels", "{tmp}/labels.csv"), "labels.csv"),
        (("--images", "{photographs}", "--config", "{config_file}"), "--images: {config_file} reads digits"),
        (("--config", "{config_file}", "--hours", "2"), "--hours needs --images"),
        (("--config", "{config_file}", "--labels", "folders"), "--labels needs --images"),
    ],
)
def test_what_allows_no_run_is_named_before_anything_is_written(
    words, message, run_command, photographs, config_file, tmp_path
):
    for name in ("empty", "one", "broken"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "1.png")
    for number in range(3):
        (tmp_path / "broken" / f"{number}.png").write_bytes(b"404")
    (tmp_path / "labels.csv").write_text("path,label\nnone.png,a\n")
    names = {"tmp": tmp_path, "photographs": photographs, "config_file": config_file}
    argv = [word.format(**names) for word in words]
    _, log = run_command("pretrain", *argv, "--workdir", tmp_path / "run", code=2)
    assert message.format(**names) in log and "Traceback" not in log
    assert not (tmp_path / "run").exists()


def test_a_workdir_with_a_run_on_other_images_is_refused(run, run_command, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    _, log = run_command("pretrain", "--images", tmp_path, "--workdir", run[1], code=2)
    assert f"--config.data.data_dir={tmp_path}" in log


@pytest.fixture
def choose(photographs, monkeypatch):
    """Function that chooses for the photographs, with the given costs of a step and devices."""

    def chosen(trial, hours=None, devices=None, **flags):
        monkeypatch.setattr(own_images, "try_step", trial)
        if devices:
            monkeypatch.setattr(own_images, "_describe_devices", lambda: devices)
        tree = load_config_file("configs/images.py")[0].to_dict()
        tree["data"]["data_dir"] = str(photographs)
        options = {"preset": None, "trains": True, "hours": hours} | flags
        return own_images.choose(from_tree(tree)[0], set(), **options)[0]

    return chosen


def test_a_budget_becomes_epochs_of_the_measured_steps(choose):
    tree = choose(lambda *_, steps: own_images.Trial(0, 20.0, 1.0 if steps else None), hours=1)
    steps = 0.95 * 3600 - 20  # one step is an epoch
    assert abs(tree["train"]["num_epochs"] - steps) < 0.01 * steps
    with pytest.raises(own_images.UserError, match=r"--hours is 0\.1, which allows 3[0-4] steps of 10 s"):
        choose(lambda *_, steps: own_images.Trial(0, 0.0, 10.0), hours=0.1)


def test_a_step_that_exceeds_the_memory_has_microbatches(choose):
    """Three tenths of its memory do not depend on the rows."""

    def trial(config, source, *, steps):
        return own_images.Trial(round(1e9 * (0.3 + 3 / config.train.microbatches)), 1.0, None)

    tree = choose(trial, devices=Devices(1, False, 8, 1_200_000_000))
    assert tree["train"]["microbatches"] == 4
    assert choose(trial, devices=Devices(1, False, 8, 4_000_000_000))["train"]["microbatches"] == 1


@pytest.mark.slow
def test_the_trial_executes_real_steps(run, monkeypatch):
    monkeypatch.setattr(own_images, "_SECONDS", 0.0)
    config = from_tree(_config(run[1]))[0]
    source = splits.open_split(config.data, "train")
    trial = own_images.try_step(config, source, steps=True)
    assert trial.memory > 1e5 and 0 < trial.step_seconds < trial.compile_seconds
