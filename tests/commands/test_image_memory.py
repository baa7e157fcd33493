"""Runs of methods that remember every image: stopped and resumed, verified, imported, extended."""

import json

import jax
import numpy as np
import pytest
from saved_states import read_state

SETTINGS = {
    "npid": {"negatives": 64, "loss": "nce"},
    "deepcluster": {"clusters": 20, "heads": 2},
    "pirl": {"negatives": 64},
    "sela": {"clusters": 20, "heads": 2, "sinkhorn_epsilon": 0.05},
    "classifier": {"clusters": 20, "heads": 2, "classifier_learning_rate": 0.05},
    "pcl": {
        "clusters": (10, 20),
        "iterations": 5,
        "negatives": 8,
        "warmup_epochs": 1.0,
        "queue_size": 512,
        "target_momentum": 0.9,
    },
}
PATCHES = (
    "    config.recipe.views.b.crop.size = 24\n"
    "    config.network.joint_head = (16, *config.network.projector[-1:])\n"
)


@pytest.fixture(params=SETTINGS)
def method_config(request, config_file, tmp_path):
    """Return a config file of two epochs of 11 steps."""
    path = tmp_path / "method.py"
    method = {"sela": "deepcluster", "classifier": "deepcluster"}.get(request.param, request.param)
    path.write_text(
        "import runpy\n\ndef get_config():\n"
        f"    config = runpy.run_path({str(config_file)!r})['get_config']()\n"
        f"    config.objective.name = {method!r}\n    config.monitor.every_epochs = 0.0\n"
        f"    config.objective.{method}.update({SETTINGS[request.param]!r})\n"
        + ("    with config.unlocked():\n        del config.recipe.views['b']\n" * (request.param == "npid"))
        + PATCHES * (request.param == "pirl")
        + "    return config\n"
    )
    return path


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_bits(method_config, tmp_path, run_command):
    """The runs include a refresh after each epoch, and each checkpoint has the memory."""
    argv = ("pretrain", "--config", method_config, "--workdir")
    whole, _ = run_command(*argv, tmp_path / "whole")
    for steps in (8, 14, 22):
        parts, _ = run_command(*argv, tmp_path / "parts", f"--config.train.max_steps={steps}")
    assert parts["first_step"] == 14 and parts["loss"] == whole["loss"] != 0
    states = [read_state(tmp_path / name, 22) for name in ("whole", "parts")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    rows = [rows for rows in jax.tree.leaves(states[0].memory) if rows.shape[:1] == (2048,)]
    assert rows and all(np.any(rows[:1437] != 0) for rows in rows)
    assert run_command("verify", "--workdir", tmp_path / "parts")[0]["intact"]
    scores = run_command("knn", "--workdir", tmp_path / "parts")[0]["scores"]
    assert all(score["value"] > 20 for score in scores)
    # The memory is that of these images: the run was trained on others, if the digest is another one.
    path = tmp_path / "parts" / "provenance.json"
    entries = json.loads(path.read_text())
    entries[-1]["data"]["train"]["digest"] = "0" * 64
    path.write_text(json.dumps(entries))
    run_command(*argv, tmp_path / "parts", "--extend", "--config.train.num_epochs=3", code=2)
