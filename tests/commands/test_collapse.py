"""Collapse warnings in runs on the digits with and without the part of the method that prevents collapse."""

import pathlib

import pytest

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
DIGITS = str(CONFIGS / "digits.py")
SHORT = (
    "--config.train.max_steps=150",
    "--config.train.log_every_steps=5",
    "--config.monitor.every_epochs=0",
    "--config.network.width=8",
    "--config.network.projector=128,128",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), None),
        (
            ("--config.objective.barlow_twins.off_diagonal_weight=0",),
            "all features of the embeddings are the same",
        ),
    ],
)
def test_a_collapsing_run_is_warned_once_and_a_healthy_one_not(tmp_path, run_command, flags, words):
    _, stderr = run_command("pretrain", "--config", DIGITS, "--workdir", tmp_path, *SHORT, *flags)
    warnings = [
        line for line in stderr.splitlines() if line.startswith("warning: ") and "wait for data" not in line
    ]
    assert len(warnings) == (words is not None) and (words is None or words in warnings[0])


QUICK = (
    "--config.train.max_steps=64",
    "--config.train.log_every_steps=2",
    "--config.monitor.every_epochs=0",
    "--config.network.width=4",
    "--config.network.projector=16,16",
    "--config.optim.learning_rate=0.1",
    "--config.optim.warmup_epochs=1",
    "--config.train.compilation_cache=none",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "flags", "words"),
    [
        pytest.param("byol", ("--config.network.predictor=16,16",), None, marks=pytest.mark.slow),
        (
            "byol",
            ("--config.network.predictor=()", "--config.objective.byol.target_momentum=0"),
            "one vector (embedding_spread",
        ),
        ("vicreg", ("--config.objective.vicreg.variance_weight=0",), "one vector (embedding_std_mean"),
    ],
    ids=["byol", "byol without predictor and average", "vicreg without variance"],
)
def test_methods_warn_if_they_collapse_without_the_part_that_prevents_it(
    tmp_path, run_command, method, flags, words
):
    argv = ("--config", f"{CONFIGS / method}.py:digits", "--workdir", tmp_path, *QUICK, *flags)
    _, stderr = run_command("pretrain", *argv)
    warnings = [line for line in stderr.splitlines() if line.startswith("warning: the embeddings")]
    assert len(warnings) == (words is not None) and (words is None or words in warnings[0])
    assert words is None or f"--config.objective.{method}." in warnings[0], "the method's own remedy"
