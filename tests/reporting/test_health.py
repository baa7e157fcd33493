"""Health checks, compared with the warnings that training logs for the same rows."""

import dataclasses
import math

import pytest
import reported

from barlow_jax.config import records
from barlow_jax.config.schema import Config, Objective, Optim
from barlow_jax.reporting import health
from barlow_jax.reporting.health import FAILURE, INFO, OK, WARNING
from barlow_jax.training import diagnostics
from barlow_jax.training.diagnostics import CollapseWarner


def _severities(run, text):
    return [check.severity for check in health.checks(run) if text in check.text]


def test_a_healthy_run_is_healthy():
    checks = health.checks(reported.run(), reported.inspection())
    assert health.worst(checks) == OK and not {WARNING, FAILURE} & {check.severity for check in checks}
    text = " ".join(check.text for check in checks)
    for part in (
        "Finished: step 2,000 of 2,000.",
        "finite in all 20 rows and fell from 386 to 130",
        "spread 0.90",
        "mean diagonal of C 0.80 (ideal 1), off-diagonal RMS 0.20",
        "Data wait: 1.0%",
        "representations: 25.0 of 64 directions, about the same as 25.0 before training",
        "embeddings: 20.0 of 64 directions",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("barlow_twins", {"embedding_spread": 0.04}),
        ("barlow_twins", {"embedding_spread": 0.06}),
        ("barlow_twins", {"diagonal_mean": 0.09}),
        ("barlow_twins", {"diagonal_mean": 0.5, "off_diagonal_rms": 0.46}),
        ("barlow_twins", {"diagonal_mean": 0.5, "off_diagonal_rms": 0.44}),
        ("byol", {"diagonal_mean": 0.09}),
        ("vicreg", {"embedding_std_mean": 0.04}),
        ("byol", {"embedding_std_mean": 0.04}),
    ],
)
def test_collapse_is_a_failure_exactly_if_training_warns(name, row):
    """All rows after the warm-up have the values."""
    columns = {key: [value] * 20 for key, value in row.items()}
    rows = reported.metrics(20, **columns)
    config = Config(objective=Objective(name=name), optim=Optim(warmup_epochs=1.0))
    warn = CollapseWarner(records.flatten(dataclasses.asdict(config)), steps_per_epoch=25)
    warnings = [text for row in rows[:-1] for text in warn(row["step"], row)]
    checks = health.checks(reported.run(metrics=rows, changes={"objective.name": name}))
    assert (health.worst(checks) == FAILURE) == bool(warnings)


def test_a_sign_of_collapse_in_the_last_row_only_is_a_warning():
    spreads = [0.9] * 19 + [diagnostics.SPREAD / 2]
    assert _severities(reported.run(metrics=reported.metrics(embedding_spread=spreads)), "one vector") == [
        WARNING
    ]


@pytest.mark.parametrize(
    ("losses", "severity", "text"),
    [
        ([math.nan] * 20, FAILURE, "not finite in 20 of 20 rows, first at step 100."),
        ([5.0] * 19 + [None], FAILURE, "not finite in 1 of 20 rows, first at step 2,000."),
        ([None] + [5.0] * 19, WARNING, "not finite in 1 of 20 rows, first at step 100."),
        ([float(row) for row in range(20)], WARNING, "did not fall: from 0 to 19.0"),
    ],
)
def test_a_loss_that_is_not_finite_or_rises(losses, severity, text):
    run = reported.run(metrics=reported.metrics(loss=losses))
    assert _severities(run, text) == [severity]


@pytest.mark.parametrize("method", ["moco", "deepcluster", "pcl"])
def test_a_rising_loss_is_no_warning_for_methods_with_a_moving_target(method):
    rows = reported.metrics(loss=[float(row) for row in range(20)])
    run = reported.run(metrics=rows, changes={"objective.name": method})
    assert _severities(run, "k-NN accuracy") == [INFO]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("skipped_steps", 3.0, "Skipped steps: 3 steps"),
        ("decode_failures", 1, "Decode failures: 1 image"),
        ("data_wait_fraction", 0.2, "Data wait: 20.0%"),
        ("embedding_std_min", 0.0, "feature is nearly constant"),
    ],
)
def test_other_problems_are_warnings(column, value, text):
    run = reported.run(metrics=reported.metrics(**{column: [value] * 20}))
    assert _severities(run, text) == [WARNING] and health.worst(health.checks(run)) == WARNING


def test_the_data_wait_of_the_first_row_is_ignored():
    run = reported.run(metrics=reported.metrics(data_wait_fraction=[0.9] + [0.0] * 19))
    assert _severities(run, "Data wait: 0.0%") == [OK]


def test_running_and_stopped_runs_are_named():
    run = reported.run(status=reported.status(state="training", step=700))
    assert _severities(run, "Not finished: training, step 700 of 2,000, as of 2026-01-02") == [INFO]
    run = dataclasses.replace(run, status=reported.status(state="stopped", reason="Preempted: told to stop"))
    assert _severities(run, "Stopped at step 2,000 of 2,000: Preempted: told to stop.") == [WARNING]


@pytest.mark.parametrize(
    ("ranks", "severity", "text"),
    [
        ((84.0, 57.0, 65.0), INFO, "65.0 of 64 directions, down from 84.0 before training."),
        ((40.0, 70.0, 74.0), INFO, "74.0 of 64 directions, up from 40.0 before training."),
        (
            (84.0, 60.0, 29.0),
            WARNING,
            "down from 84.0 before training, and less than half of 60.0 at step 1,000.",
        ),
        ((84.0, 20.0, 15.0), INFO, "15.0 of 64 directions, down from 84.0 before training."),
    ],
)
def test_a_falling_effective_rank_is_named(ranks, severity, text):
    """The peak counts from the first checkpoint on: the initial network's rank is not an aim."""
    inspection = reported.inspection()
    snapshots = [
        s._replace(representation=s.representation._replace(effective_rank=r))
        for s, r in zip(inspection.snapshots, ranks, strict=True)
    ]
    inspection = dataclasses.replace(inspection, snapshots=snapshots)
    (check,) = (c for c in health.checks(reported.run(), inspection) if "representations" in c.text)
    assert check.severity == severity and check.text.endswith(text)
