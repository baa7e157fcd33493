"""check_accelerator.sh: its parts one by one, and all of it in miniature."""

import json
import os
import pathlib
import runpy
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from barlow_jax import commands
from barlow_jax.cli import parsing
from barlow_jax.config import overrides
from barlow_jax.config.validation import Facts, validate

SCRIPT = pathlib.Path(__file__).parents[2] / "launch" / "check_accelerator.py"
EXIT_3 = "import sys; print('no device', file=sys.stderr); sys.exit(3)"
ON_SIGTERM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def check(script, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return script["Check"](tmp_path, dry_run=False)


def test_a_part_that_fails_is_reported_and_the_others_run(check, tmp_path):
    check.part("one", lambda: check.run(sys.executable, "-c", EXIT_3))
    check.part("two", lambda: check.run(sys.executable, "-c", "print('{\"step\": 5}')"))
    results = json.loads((tmp_path / "accelerator.json").read_text())
    one, two = results["parts"]["one"], results["parts"]["two"]
    assert not results["ok"] and not one["ok"] and "3" in one["reason"] and "no device" in one["reason"]
    assert two["ok"] and two["step"] == 5


def test_sigterm_is_sent_as_soon_as_it_is_time(check, tmp_path):
    file = tmp_path / "started"
    check.run(sys.executable, "-c", ON_SIGTERM, file, code=143, until=file.exists)


def test_a_part_ends_with_the_time_of_the_check(check):
    check.limit = 0.5
    check.part("long", lambda: check.run(sys.executable, "-c", "import time; time.sleep(60)"))
    assert not check.results["ok"] and time.monotonic() - check.started < 10


def test_bits_are_compared(script, finished, workdir):
    assert not [*script["differences"](workdir, finished)]
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[0])
    row["loss"] = float(np.nextafter(row["loss"], 0))
    (workdir / "metrics.jsonl").write_text("\n".join([json.dumps(row), *rows[1:]]))
    newest = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(newest)  # an earlier checkpoint is another state
    different = [*script["differences"](workdir, finished)]
    assert different[0] == "the losses differ" and len(different) > 10


def test_images_are_those_of_scikit_learn(script, tmp_path):
    script["write_images"](tmp_path / "images")
    train, test = (np.load(tmp_path / "images" / f"{name}.npz") for name in ("train", "test"))
    assert train["images"].shape == (1437, 32, 32, 3) and train["images"].dtype == np.uint8
    assert len(test["images"]) == len(test["labels"]) == 360 and train["images"].max() == 255


@pytest.mark.parametrize("small", [[], ["--small"]])
def test_every_command_is_valid(script, monkeypatch, capsys, tmp_path, small):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(sys, "argv", ["check", "--dry-run", f"--out={tmp_path / 'out'}", *small])
    assert script["main"]() == 0
    lines = [
        shlex.split(line[2:]) for line in capsys.readouterr().err.splitlines() if "-m barlow_jax" in line
    ]
    assert [words[3] for words in lines] == ["bench", "bench", *["pretrain"] * 3, "knn", "probe"]
    for words in lines:
        _, args, problems = parsing.parse(commands, words[3:])
        tree = (
            overrides.load_config_file(args.config)[0] if args.config else overrides.default_config()
        ).to_dict()
        problems = [*problems, *overrides.apply_overrides(tree, args.overrides)]
        assert not problems and not validate(overrides.from_tree(tree)[0], Facts())
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused(script, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["check", f"--out={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        script["main"]()
    assert caught.value.code == 2


@pytest.mark.slow
def test_all_of_it_in_miniature_without_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not on this machine')")
    environment = os.environ | {"PYTHON": sys.executable, "XLA_FLAGS": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    command = ["bash", SCRIPT.with_suffix(".sh"), f"--out={tmp_path / 'out'}"]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    results = json.loads(result.stdout)
    assert result.returncode == 0 and results["ok"] and results["small"], results
    parts = results["parts"]
    assert parts["bench_resnet50"]["step_seconds"] > 0 and parts["pretrain"]["step"] == 40
    assert parts["resume"]["bitwise"] and 0 < parts["resume"]["stopped_at_step"] < 40
    assert 0 < parts["knn"]["top1"] <= 1 and "probe" in parts
