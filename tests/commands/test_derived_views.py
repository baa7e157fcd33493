"""Runs of methods whose step derives views: stopped, resumed, in microbatches, and evaluated."""

import jax
import numpy as np
import pytest
from saved_states import read_state

CHANGES = {
    "mixed_barlow_twins": "config.train.microbatches = 2",
    "jigsaw": "config.network.joint_head, config.network.projector = (16, 8), ()\n"
    "    config.objective.jigsaw.permutations, config.recipe.views.a.crop.size = 8, 24\n"
    "    with config.unlocked():\n        del config.recipe.views['b']",
    "rotation": "config.network.num_classes, config.network.projector = 4, ()\n"
    "    with config.unlocked():\n        del config.recipe.views['b']",
}


@pytest.mark.slow
@pytest.mark.parametrize("method", CHANGES)
def test_a_stopped_run_resumes_to_the_same_bits(method, config_file, tmp_path, run_command):
    path = tmp_path / "method.py"
    path.write_text(
        "import runpy\n\ndef get_config():\n"
        f"    config = runpy.run_path({str(config_file)!r})['get_config']()\n"
        f"    config.objective.name = {method!r}\n    config.monitor.every_epochs = 0.0\n"
        f"    {CHANGES[method]}\n    return config\n"
    )
    argv = ("pretrain", "--config", path, "--workdir")
    whole, _ = run_command(*argv, tmp_path / "whole")
    for steps in (8, 22):
        parts, _ = run_command(*argv, tmp_path / "parts", f"--config.train.max_steps={steps}")
    assert parts["first_step"] == 8 and parts["loss"] == whole["loss"] != 0
    jax.tree.map(
        np.testing.assert_array_equal, *(read_state(tmp_path / name, 22) for name in ("whole", "parts"))
    )
    scores = run_command("knn", "--workdir", tmp_path / "parts")[0]["scores"]
    assert all(score["value"] > 20 for score in scores)
