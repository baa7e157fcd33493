"""Parts of an evaluation are measured once for the same encoder, images and settings."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from barlow_jax.config.schema import Config
from barlow_jax.experiment.full_evaluation import PartialResults
from barlow_jax.papers.scores import Score

CONFIG = Config()
ENCODER = {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}
SCORE = Score("probe", "linear", "top1", 97.5, "digits", "test", 360, 0.1, 20)


def _data(examples):
    split = SimpleNamespace(identity=lambda: iter(examples))
    return SimpleNamespace(train=split, test=split)


def _measure(folder, config=CONFIG, encoder=ENCODER, examples=(b"1", b"2"), name="probe"):
    """Return whether the part was measured, not read."""
    measured = []

    def measure():
        measured.append(1)
        return [SCORE], {"data": {"name": "digits"}}

    partial = PartialResults(folder, config, [_data(examples)])
    assert partial.measure("untrained", name, encoder, measure) == ([SCORE], {"data": {"name": "digits"}})
    return bool(measured)


def test_a_part_is_measured_once(tmp_path):
    assert _measure(tmp_path) and not _measure(tmp_path)
    with (tmp_path / "results" / ".evaluate.jsonl").open("a") as file:
        file.write('{"digest": "cut')  # by a kill
    assert not _measure(tmp_path)
    assert _measure(tmp_path, name="knn") and not _measure(tmp_path, name="knn")
    PartialResults(tmp_path, CONFIG, []).remove()
    assert _measure(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": {"kernel": ENCODER["kernel"] + 1e-6}},
        {"encoder": None},
        {"examples": (b"1", b"3")},
        {"config": dataclasses.replace(CONFIG, seed=1)},
        {"config": dataclasses.replace(CONFIG, probe=dataclasses.replace(CONFIG.probe, learning_rate=0.1))},
    ],
)
def test_a_part_of_another_encoder_data_or_setting_is_measured_again(tmp_path, change):
    assert _measure(tmp_path)
    assert _measure(tmp_path, **change)
