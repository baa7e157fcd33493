"""Verdicts on synthetic metrics; each is a state with the numbers that it follows from."""

import math

import pytest

from barlow_jax.training import verdict

CONFIG = {"objective.name": "byol", "optim.warmup_epochs": 2.0, "monitor.select_by": "lidar"}


def _rows(measured, losses=None, **training):
    """One training row and one row of the monitor per 10 epochs, which are 100 steps."""
    training = {"embedding_spread": 0.9, "embedding_std_mean": 0.9} | training
    losses = losses or [10.0 - i for i in range(len(measured))]
    rows = []
    for i, (values, loss) in enumerate(zip(measured, losses, strict=True), 1):
        values = values if isinstance(values, dict) else {"lidar": values}
        rows += [{"step": 100 * i, "epoch": 10.0 * i, "loss": loss, **training}]
        rows += [{"step": 100 * i, "epoch": 10.0 * i, **values}]
    return rows


@pytest.mark.parametrize(
    ("lidars", "state", "since", "per_epoch"),
    [
        ([5.0], "unknown", None, None),
        ([5.0, 7.0], "undertrained", 20.0, 0.2),
        ([5.0, 7.0, 7.05, 7.0, 7.0, 6.9], "unknown", 20.0, -0.01),
        ([5.0, 7.0, 7.05, 7.0, 7.0, 6.9, 5.9], "saturated", 20.0, -0.1),
        ([5.0, 7.0, 7.05, 7.0, 7.2], "undertrained", 50.0, 0.02),
        ([5.0, 6.0, math.nan, 7.0], "undertrained", 40.0, 0.05),
    ],
)
def test_progress_is_judged_by_the_metric_that_selects(lidars, state, since, per_epoch):
    rows = _rows([None if math.isnan(value) else value for value in lidars])
    found = verdict.judge(rows, CONFIG)
    assert (found.state, found.since_epoch, found.is_problem) == (state, since, False)
    assert found.per_epoch == pytest.approx(per_epoch)
    assert per_epoch is None or (found.metric == "lidar" and found.value == lidars[-1])


def test_labels_and_the_config_decide_which_metric_counts():
    rows = _rows(
        [{"lidar": 5.0, "alpha_req": 2.0, "knn_top1": 0.5}, {"lidar": 7.0, "alpha_req": 1.5, "knn_top1": 0.5}]
    )
    assert verdict.judge(rows, CONFIG | {"monitor.select_by": "auto"}).metric == "knn_top1"
    found = verdict.judge(rows, CONFIG | {"monitor.select_by": "alpha_req"})
    assert (found.metric, found.state, found.value) == ("alpha_req", "undertrained", 1.5)
    assert found.per_epoch == pytest.approx(0.05), "of the score, which rises towards exponent 1"


@pytest.mark.parametrize(
    ("objective", "training", "state", "value"),
    [
        ("byol", {"embedding_spread": 0.01}, "full", 0.01),
        ("vicreg", {"embedding_std_mean": 0.02}, "shrinking", 0.02),
        ("byol", {"embedding_std_mean": 0.02}, "undertrained", 9.0),
        ("barlow_twins", {"diagonal_mean": 0.7, "off_diagonal_rms": 0.68}, "dimensional", 0.68),
        ("barlow_twins", {"diagonal_mean": 0.05, "off_diagonal_rms": 0.02}, "diagonal", 0.05),
        ("barlow_twins", {"diagonal_mean": 0.7, "off_diagonal_rms": 0.2}, "undertrained", 9.0),
    ],
)
def test_a_lasting_collapse_has_its_name_and_its_number(objective, training, state, value):
    config = CONFIG | {"objective.name": objective}
    rows = _rows([{"lidar": float(i), "rankme_embedding": 3.25} for i in range(5, 10)], **training)
    found = verdict.judge(rows, config)
    assert (found.state, found.value) == (state, value)
    if found.is_problem:
        assert "3.2" in found.text, "the number of directions"
        assert verdict.judge(rows[2:], config).state != state, "four rows are not enough"
        early = [row | {"epoch": row["epoch"] / 40} for row in rows]
        assert verdict.judge(early, config).state != state, "not before the end of the warm-up"


@pytest.mark.parametrize(
    ("retrievals", "losses", "overfits"),
    [
        ([0.5, 0.8, 0.77, 0.7], [9, 8, 7, 6], True),
        ([0.5, 0.8, 0.79, 0.7], [9, 8, 7, 6], False),  # one worse measurement
        ([0.5, 0.8, 0.77, 0.7], [9, 8, 8.5, 9], False),  # the loss rises too
        ([0.5, 0.8, 0.81, 0.82], [9, 8, 7, 6], False),
    ],
)
def test_a_falling_loss_with_worse_held_out_views_is_overfitting(retrievals, losses, overfits):
    rows = _rows([{"view_retrieval_top1": r, "alignment": 1 - r, "lidar": 5.0} for r in retrievals], losses)
    found = verdict.judge(rows, CONFIG)
    assert (found.state == "overfitting") == overfits
    if overfits:
        assert (found.since_epoch, found.value, found.is_problem) == (20.0, 0.7, True)


def test_without_measurements_there_is_no_verdict():
    assert verdict.judge([], {}).state == "unknown"
    assert verdict.judge([{"step": 100, "loss": 1.0}], {}).state == "unknown"
