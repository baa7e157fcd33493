"""The example of a new method in docs/methods.md: one file and one config, and no other change."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from xla_flags import xla_flags

ROOT = pathlib.Path(__file__).parents[2]
SHORT = (
    "--config.train.batch_size=64",
    "--config.train.max_steps=4",
    "--config.train.log_every_steps=1",
    "--config.monitor.every_epochs=0",
    "--config.train.compilation_cache=none",
    "--config.network.width=4",
)


@pytest.fixture
def written():
    """Return the example's files: text by path."""
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    section = page.split("## A method of your own")[1].split("\n## ")[0]
    pattern = r"`(\S*uniformity\.py)`[^`]*```python\n(.*?)```"
    return dict(re.findall(pattern, section, re.DOTALL))


@pytest.fixture
def copy(written, tmp_path):
    """Return a copy of the package with the two files added, and a data set of arrays."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("barlow_jax", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for path, text in written.items():
        assert not (tmp_path / path).exists()
        (tmp_path / path).write_text(text)
    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    np.savez(tmp_path / "train.npz", images=pixels[:1437], labels=digits.target[:1437])
    np.savez(tmp_path / "test.npz", images=pixels[1437:], labels=digits.target[1437:])
    return tmp_path


def _reference(z_a, z_b):
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z_a, z_b))

    def potential(z):
        pairs = [
            np.exp(-2 * np.sum((x - y) ** 2)) for i, x in enumerate(z) for j, y in enumerate(z) if i != j
        ]
        return np.log(np.mean(pairs))

    return np.mean(np.sum((a - b) ** 2, axis=1)) + (potential(a) + potential(b)) / 2


def test_the_example_is_one_short_file_and_one_config_with_the_papers_loss(written):
    method, config = (written[path] for path in ("uniformity.py", "configs/uniformity.py"))
    assert len(written) == 2 and method.count("\n") < 80 and config.count("\n") < 20
    from barlow_jax.config import schema as config_lib
    from barlow_jax.types import LossContext, Outputs, RunInfo

    module = {}
    exec(compile(method, "uniformity.py", "exec"), module)
    z_a, z_b = np.random.default_rng(0).normal(size=(2, 12, 5))
    outputs = {name: Outputs(None, np.float32(z)) for name, z in (("a", z_a), ("b", z_b))}
    value, _, _ = module["make"](config_lib.Objective(), RunInfo()).loss(
        outputs, {}, LossContext(np.zeros(12))
    )
    np.testing.assert_allclose(value, _reference(z_a, z_b), rtol=1e-6)


@pytest.mark.slow
def test_the_example_trains(copy):
    data_flags = (
        "--config.data.name=images",
        "--config.data.augment_on=device",
        "--config.data.canvas=8",
        f"--config.data.data_dir={copy}",
    )

    def run(program, *argv):
        return subprocess.run(
            [sys.executable, "-m", "barlow_jax", program, *argv, "--workdir", str(copy / "run")],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(copy), "XLA_FLAGS": xla_flags(8), "JAX_PLATFORMS": "cpu"},
        )

    done = run("pretrain", "--config", "configs/uniformity.py:digits", *SHORT, *data_flags)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (copy / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and all(np.isfinite(row["alignment"]) and row["skipped_steps"] == 0 for row in rows)
    assert json.loads(done.stdout)["step"] == 4
