"""Collapse warnings in runs on the digits with and without the part of the method that prevents collapse."""

import pathlib

import pytest

from barlow_jax.training import diagnostics

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
DIGITS = str(CONFIGS / "digits.py")
SHORT = (
    "--config.train.max_steps=150",
    "--config.train.log_every_steps=5",
    "--config.monitor.every_epochs=1",
    "--config.monitor.max_images=64",
    "--config.network.width=8",
    "--config.network.projector=128,128",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ((), None),
        (
            ("--config.objective.barlow_twins.off_diagonal_weight=0",),
            "dimensional",
        ),
    ],
)
def test_a_collapsing_run_is_warned_once_and_a_healthy_one_not(tmp_path, run_command, flags, state):
    _, stderr = run_command("pretrain", "--config", DIGITS, "--workdir", tmp_path, *SHORT, *flags)
    warnings = [
        line for line in stderr.splitlines() if line.startswith("warning: ") and "wait for data" not in line
    ]
    _check(run_command, tmp_path, warnings, state)


def _check(run_command, workdir, warnings, state):
    """One warning has the name of the collapse, and `status` the state with a number of directions."""
    verdict = run_command("status", "--workdir", workdir)[0]["verdict"]
    if state is None:
        assert not warnings and verdict["state"] not in diagnostics.NAMES
    else:
        assert len(warnings) == 1 and diagnostics.NAMES[state] in warnings[0]
        assert verdict["state"] == state and "effective rank" in verdict["text"]


QUICK = (
    "--config.train.max_steps=64",
    "--config.train.log_every_steps=2",
    "--config.monitor.every_epochs=1",
    "--config.monitor.max_images=64",
    "--config.network.width=4",
    "--config.network.projector=16,16",
    "--config.optim.learning_rate=0.1",
    "--config.optim.warmup_epochs=1",
    "--config.train.compilation_cache=none",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "flags", "state"),
    [
        pytest.param("byol", ("--config.network.predictor=16,16",), None, marks=pytest.mark.slow),
        (
            "byol",
            ("--config.network.predictor=()", "--config.objective.byol.target_momentum=0"),
            "full",
        ),
        ("vicreg", ("--config.objective.vicreg.variance_weight=0",), "shrinking"),
    ],
    ids=["byol", "byol without predictor and average", "vicreg without variance"],
)
def test_methods_warn_if_they_collapse_without_the_part_that_prevents_it(
    tmp_path, run_command, method, flags, state
):
    argv = ("--config", f"{CONFIGS / method}.py:digits", "--workdir", tmp_path, *QUICK, *flags)
    _, stderr = run_command("pretrain", *argv)
    warnings = [
        line for line in stderr.splitlines() if any(name in line for name in diagnostics.NAMES.values())
    ]
    _check(run_command, tmp_path, warnings, state)
    assert state is None or f"--config.objective.{method}." in warnings[0], "the method's own remedy"
