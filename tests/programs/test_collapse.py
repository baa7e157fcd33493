"""The quickstart as it is and without the loss's second term: who is warned, and who is not."""

import pathlib

import pytest

DIGITS = str(pathlib.Path(__file__).parents[2] / "configs" / "digits.py")
SHORT = (
    "--config.train.max_steps=150", "--config.train.log_every_steps=5", "--config.monitor.every_epochs=0",
    "--config.network.width=8", "--config.network.projector=128,128",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), None),
        (
            ("--config.objective.barlow_twins.off_diagonal_weight=0",),
            "all features of the embeddings are one and the same",
        ),
    ],
)
def test_a_collapsing_run_is_warned_once_and_a_healthy_one_not(tmp_path, program, flags, words):
    _, said = program("pretrain", "--config", DIGITS, "--workdir", tmp_path, *SHORT, *flags)
    warnings = [
        line for line in said.splitlines() if line.startswith("warning: ") and "wait for data" not in line
    ]
    assert len(warnings) == (words is not None) and (words is None or words in warnings[0])
