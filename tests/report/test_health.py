"""The verdicts, against the warnings that a run itself gives for the same rows."""

import dataclasses
import math

import pytest
import reported

from barlow_jax.config.schema import Config, Objective, Optim
from barlow_jax.report import health
from barlow_jax.report.health import BAD, GOOD, LOOK, NONE
from barlow_jax.training import diagnostics
from barlow_jax.training.collapse_warning import CollapseWarner


def _signs(run, word):
    return [check.sign for check in health.checks(run) if word in check.words]


def test_a_healthy_run_is_healthy():
    found = health.checks(reported.run(), reported.inspect_model())
    assert health.worst(found) == GOOD and not {LOOK, BAD} & {check.sign for check in found}
    told = " ".join(check.words for check in found)
    for part in (
        "Finished: step 2,000 of 2,000.",
        "finite in all 20 rows, and fell from 386 to 130",
        "spread 0.90",
        "diagonal of C 0.80 (1 is perfect), off it 0.20",
        "1.0% of the time",
        "Representations use 25.0 of 64 directions and embeddings use 20.0 of 64",
    ):
        assert part in told


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
def test_what_a_run_warns_of_is_bad_and_nothing_else(name, row):
    """Five rows in a row, after the warm-up."""
    columns = {key: [value] * 20 for key, value in row.items()}
    rows = reported.metrics(20, **columns)
    config = Config(objective=Objective(name=name), optim=Optim(warmup_epochs=1.0))
    warns = CollapseWarner(config, steps_per_epoch=25)
    warned = [words for one in rows[:-1] for words in warns(one["step"], one)]
    found = health.checks(reported.run(metrics=rows, changes={"objective.name": name}))
    assert (health.worst(found) == BAD) == bool(warned)


def test_a_sign_in_the_last_row_alone_is_worth_a_look():
    spreads = [0.9] * 19 + [diagnostics.SPREAD / 2]
    assert _signs(reported.run(metrics=reported.metrics(embedding_spread=spreads)), "one vector") == [LOOK]


@pytest.mark.parametrize(
    ("losses", "sign", "words"),
    [
        ([math.nan] * 20, BAD, "not finite in 20 of 20 rows, the first at step 100."),
        ([5.0] * 19 + [None], BAD, "not finite in 1 of 20 rows, the first at step 2,000."),
        ([None] + [5.0] * 19, LOOK, "not finite in 1 of 20 rows, the first at step 100."),
        ([float(row) for row in range(20)], LOOK, "did not fall: from 0 to 19.0"),
    ],
)
def test_a_loss_that_is_lost_or_rises(losses, sign, words):
    run = reported.run(metrics=reported.metrics(loss=losses))
    assert _signs(run, words) == [sign]


def test_a_rising_loss_says_little_of_methods_with_a_moving_target():
    rows = reported.metrics(loss=[float(row) for row in range(20)])
    assert _signs(reported.run(metrics=rows, changes={"objective.name": "moco"}), "see the k-NN") == [NONE]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("skipped_steps", 3.0, "3 steps skipped"),
        ("decode_failures", 1, "1 image could not be decoded"),
        ("data_wait_fraction", 0.2, "Devices wait for data: 20.0%"),
        ("embedding_std_min", 0.0, "A feature is (nearly) constant"),
    ],
)
def test_other_troubles_are_worth_a_look(column, value, words):
    run = reported.run(metrics=reported.metrics(**{column: [value] * 20}))
    assert _signs(run, words) == [LOOK] and health.worst(health.checks(run)) == LOOK


def test_the_wait_of_the_first_row_does_not_count():
    assert not _signs(
        reported.run(metrics=reported.metrics(data_wait_fraction=[0.9] + [0.0] * 19)), "Devices wait"
    )


def test_a_run_that_goes_on_or_was_stopped_is_said_to():
    run = reported.run(status=reported.status(state="training", step=700))
    assert _signs(run, "Not finished: training, step 700 of 2,000, as of 2026-01-02") == [NONE]
    run = dataclasses.replace(run, status=reported.status(state="stopped", why="Preempted: told to stop"))
    assert _signs(run, "Stopped at step 2,000 of 2,000: Preempted: told to stop.") == [LOOK]
