"""Supervised baseline of the tables: pretraining with the classification objective, then evaluation."""

import json
import types

import pytest
from score_records import by_fraction

from barlow_jax.experiment import pretraining

LINES = """
import runpy

def get_config():
    config = runpy.run_path({base!r})["get_config"]()
    with config.unlocked():
        del config.recipe.views["b"]
    config.recipe.views.a.crop.min_area = 0.5
    config.recipe.views.a.flip.probability = 0.0
    config.objective.name = "classification"
    config.network.projector = ()
    config.network.num_classes = {classes}
    config.optim.name = "adamw"
    config.optim.learning_rate = 0.02
    config.optim.bias_learning_rate = None
    config.train.num_epochs = 6.0
    return config
"""


@pytest.fixture
def config(tmp_path, config_file):
    def write(classes=10):
        path = tmp_path / "supervised.py"
        path.write_text(LINES.format(base=config_file, classes=classes))
        return path

    return write


@pytest.mark.slow
def test_labels_are_learned_and_the_encoder_is_probed_like_any_other(run_command, config, tmp_path):
    results, _ = run_command("pretrain", "--config", config(), "--workdir", tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "top1" in row]
    assert trained[-1]["top1"] > 0.4 and trained[-1]["loss"] < trained[0]["loss"] < 2.5
    assert results["step"] == 66
    probed, _ = run_command("probe", "--workdir", tmp_path / "run")
    assert by_fraction(probed)[1.0] > 50


def test_another_number_of_classes_is_refused_before_it_starts(run_command, config, tmp_path):
    _, stderr = run_command("pretrain", "--config", config(classes=12), "--workdir", tmp_path / "run", code=2)
    assert "config.network.num_classes is 12, but digits has 10 classes" in stderr
    assert not (tmp_path / "run").exists()


def test_without_one_label_per_image_the_monitor_measures_no_accuracy(config_file, typed, small_config):
    data = typed(small_config)
    several, unlabeled, single = (
        types.SimpleNamespace(num_classes=classes, multi_label=multi_label, num_examples=4)
        for classes, multi_label in ((10, True), (None, False), (10, False))
    )
    for train, test in ((several, several), (single, unlabeled), (unlabeled, None)):
        assert pretraining._check_labels(data, train, test) is None
    assert pretraining._check_labels(data, single, single).test is single
    small_config.network.num_classes, small_config.objective.name = 4, "rotation"
    assert pretraining._check_labels(typed(small_config), unlabeled, None) is None, "classes of its own"


PLAN = ("--topology", "v5e:2x2", "--config.train.batch_size=64")


@pytest.mark.slow  # test_plan.py compiles a step with a projector
def test_its_step_is_planned(run_command, config):
    result, stderr = run_command("plan", "--config", config(), *PLAN)
    assert result["fits"] and result["form"] is None and "projector" not in stderr


def test_its_parts_are_refused(run_command, config):
    argv = ("plan", "--config", config(), *PLAN)
    _, stderr = run_command(*argv, "--part", "head", code=2)
    assert "--part head: classification has no projector" in stderr
