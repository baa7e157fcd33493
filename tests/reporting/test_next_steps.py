"""Next steps of a report: every problem has a command, and a number."""

import dataclasses
import math
import re
import shlex

import pytest
import reported

from barlow_jax import commands as command_package
from barlow_jax.cli import parsing
from barlow_jax.reporting import next_steps


def _steps(inspection=None, **fields):
    return next_steps.next_steps(reported.run(**fields), inspection)


def _rows(**values):
    return reported.metrics(**{name: [value] * 20 for name, value in values.items()})


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"status": reported.status(state="stopped", step=700)}, "pretrain --workdir runs/digits"),
        ({"status": reported.status(state="training", step=700)}, "pretrain --workdir runs/digits"),
        ({"metrics": _rows(loss=math.nan)}, "--config.optim.learning_rate=0.1"),
        ({"metrics": _rows(skipped_steps=3.0)}, "--config.optim.learning_rate=0.1"),
        (
            {"metrics": reported.metrics(loss=[float(i) for i in range(20)])},
            "show-views --workdir runs/digits",
        ),
        ({"metrics": _rows(embedding_spread=0.01)}, "--config.optim.learning_rate=0.1"),
        ({"metrics": _rows(diagonal_mean=0.05)}, "show-views --workdir runs/digits"),
        (
            {"metrics": _rows(off_diagonal_rms=0.9)},
            "--config.objective.barlow_twins.off_diagonal_weight=0.0102",
        ),
        ({"metrics": _rows(embedding_std_min=1e-5)}, "--config.optim.learning_rate=0.1"),
        ({"metrics": _rows(data_wait_fraction=0.3)}, "--config.data.augment_on=device"),
        (
            {"metrics": _rows(data_wait_fraction=0.3), "changes": {"data.augment_on": "device"}},
            "pretrain --workdir runs/digits --config.data.cache=encoded",
        ),
        ({"metrics": _rows(decode_failures=7)}, "cat runs/digits/decode_failures.jsonl"),
        ({"results": {}}, "evaluate --workdir runs/digits"),
        ({"results": {"evaluate": reported.evaluate(80.0)}}, "show-views --workdir runs/digits"),
        ({"results": {"evaluate": reported.evaluate(98.9, 97.0)}}, "--extend --config.train.num_epochs=160"),
    ],
)
def test_the_first_step_is_about_the_problem(fields, command):
    first = _steps(**fields)[0]
    assert command in first.command
    assert re.search(r"\d", first.finding) or fields == {"results": {}}


def test_a_rank_that_fell_leads_to_an_earlier_checkpoint():
    inspection = reported.inspection()
    snapshots = [
        s._replace(embedding=s.embedding._replace(effective_rank=r))
        for s, r in zip(inspection.snapshots, (9, 50, 9), strict=True)
    ]
    (step,) = _steps(dataclasses.replace(inspection, snapshots=snapshots))
    assert step.command.endswith("evaluate --workdir runs/digits --encoder runs/digits/checkpoints/1000")


@pytest.mark.parametrize(
    ("accuracies", "command"),
    [((0.9, 0.98, 0.96), "--checkpoint best"), ((0.9, 0.96, 0.98), "--extend --config.train.num_epochs=160")],
)
def test_the_accuracy_during_training_leads_to_its_best_checkpoint_or_a_longer_run(accuracies, command):
    rows = [row for row in reported.metrics() if "knn_top1" not in row]
    rows += [{"step": 1000 + i, "knn_top1": accuracy} for i, accuracy in enumerate(accuracies)]
    (step,) = _steps(metrics=rows)
    assert command in step.command


def test_a_healthy_run_is_repeated_with_another_seed_and_used():
    """98.9 % of 360 images have a standard error of 0.55 points; 0.67 with Agresti and Coull's margin."""
    seed, use = _steps(
        provenance=[reported.entry(command=["pretrain", "--config", "a b.py", "--workdir", "x"])]
    )
    assert seed.command == (
        "python -m barlow_jax pretrain --config 'a b.py' --workdir=runs/digits_seed1 --config.seed=1"
    )
    assert "standard error is 0.7 points" in seed.action
    assert use.finding.startswith("10.6 points above") and " embed --workdir runs/digits" in use.command
    seeds = next_steps.next_steps(reported.run(), seeds=3)
    assert [step.finding for step in seeds] == [use.finding]


def test_the_commands_exist():
    fields = {"metrics": _rows(loss=math.nan, decode_failures=7), "results": {}}
    commands = [step.command for step in (*_steps(**fields), *_steps()) if not step.command.startswith("cat")]
    assert {shlex.split(command)[3] for command in commands} == {"pretrain", "evaluate", "embed"}
    assert {"pretrain", "evaluate", "embed", "export", "show-views"} <= set(
        parsing.summaries(command_package)
    )
