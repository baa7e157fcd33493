"""Runs on a folder in which some files cannot be decoded, through the entry point."""

import json

import jax
import numpy as np
from PIL import Image
import pytest
from saved_states import read_state
from sklearn.datasets import load_digits

TRAIN, TEST = 288, 72
FLAGS = (
    "--config.data.name=images",
    "--config.data.labels=folders",
    "--config.train.batch_size=64",
    "--config.eval_batch_size=64",
    "--config.train.num_epochs=2",
    "--config.monitor.every_epochs=0",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits as PNG files, of which four in the training and two in the test split cannot be decoded."""
    root = tmp_path_factory.mktemp("folder")
    digits = load_digits()
    for number in range(TRAIN + TEST):
        split = "train" if number < TRAIN else "test"
        path = root / split / str(digits.target[number]) / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(path)
        if number in (5, TRAIN):
            path.write_bytes(b"")
        elif number == 75:
            path.write_bytes(b"404 not found")
        elif number in (200, TRAIN + 9):
            path.write_bytes(path.read_bytes()[:60])
        elif number == 101:
            path.unlink()
            path.symlink_to("missing.png")
    return root


@pytest.fixture(scope="module")
def argv(folder, config_file):
    return ("--config", config_file, *FLAGS, f"--config.data.data_dir={folder}")


@pytest.fixture
def run(argv, tmp_path, run_command):
    """Workdir, results and standard error of a complete run."""
    return tmp_path / "run", *run_command("pretrain", *argv, "--workdir", tmp_path / "run")


def _counts(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["decode_failures"] for row in rows if "loss" in row}


def test_a_run_continues_names_and_counts_them(run, run_command, folder):
    workdir, results, stderr = run
    assert results["step"] == 8 and np.isfinite(results["loss"])
    for file, words in (
        ("005.png", "is empty"),
        ("075.png", "is not an image: it begins with b'404 not found'"),
        ("200.png", "is a truncated or damaged PNG"),
        ("101.png", "cannot be opened: No such file or directory"),
    ):
        (path,) = (path for path in folder.rglob("*.png") if path.name == file)
        assert stderr.count(f"{path.relative_to(folder)} {words}") == 1
    counts = _counts(workdir)
    assert list(counts.values()) == sorted(counts.values()) and counts[8] == results["decode_failures"] == 4
    named = (workdir / "decode_failures.jsonl").read_text()
    assert len(named.splitlines()) == 4 and "005.png is empty" in named
    judged, _ = run_command("knn", "--workdir", workdir)
    assert judged["decode_failures"] == {"train": 4, "test": 2}


@pytest.mark.slow
def test_a_run_that_is_cut_off_repeats_them(run, argv, tmp_path, run_command):
    workdir, *_ = run
    counts, named = _counts(workdir), (workdir / "decode_failures.jsonl").read_text()
    cut = tmp_path / "cut"
    run_command("pretrain", *argv, "--workdir", cut, "--config.train.max_steps=3")
    again, stderr = run_command("pretrain", *argv, "--workdir", cut, "--config.data.max_decode_failures=none")
    assert again["first_step"] == 3 and "resuming from the checkpoint of step 3" in stderr
    jax.tree.map(np.testing.assert_array_equal, read_state(cut, 8, TRAIN), read_state(workdir, 8, TRAIN))
    assert _counts(cut) == counts | {3: counts[4]}, "of step 3, where it was cut off, too"
    assert (cut / "decode_failures.jsonl").read_text() == named


@pytest.mark.slow
def test_a_probe_on_augmented_images_counts_them(run, run_command):
    flags = ("--config.probe.augment=true", "--config.probe.num_epochs=1", "--config.probe.batch_size=64")
    probed, _ = run_command("probe", "--workdir", run[0], *flags)
    assert probed["decode_failures"] == {"train": 4, "test": 2}


@pytest.mark.slow
def test_images_on_the_devices_are_replaced_and_counted_as_those_of_the_host(argv, tmp_path, run_command):
    argv = ("pretrain", *argv, "--config.data.augment_on=device", "--config.data.canvas=8")
    whole, _ = run_command(*argv, "--workdir", tmp_path / "host")
    results, stderr = run_command(*argv, "--workdir", tmp_path / "devices", "--config.data.cache=decoded")
    for name in ("loss", "step", "decode_failures"):
        assert results[name] == whole[name]
    assert results["decode_failures"] == 4 and stderr.count("decode failure ") == 4
    states = (read_state(tmp_path / place, 8, TRAIN) for place in ("host", "devices"))
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_too_many_end_the_run_with_the_first_ones_and_the_remedy(argv, tmp_path, run_command, folder):
    results, stderr = run_command(
        "pretrain", *argv, "--workdir", tmp_path, "--config.data.max_decode_failures=1", code=2
    )
    assert results is None and "Traceback" not in stderr
    error = stderr[stderr.index("error: ") :]
    assert "config.data.max_decode_failures: this process cannot decode 2 images, and 1 are allowed" in error
    assert error.count("train/") == 2
    assert "repair or remove them, or raise the limit" in error
