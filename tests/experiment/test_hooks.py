import contextlib
import logging
import re
import types

import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config.schema import Checkpoint, Config, Monitor, Train
from barlow_jax.evals import features
from barlow_jax.experiment import hooks, monitor
from barlow_jax.types import FeatureTable, TrainState


def test_the_monitor_measures_random_images_of_the_whole_split(monkeypatch):
    """A folder's images are sorted by class, so the first ones would be of one class."""
    read = []

    def eval_batches(source, examples):
        read.append(examples)
        return iter(())

    # The nearest row is of class 0, and the two next ones of class 1.
    features_of_rows = np.array([[1, 0], [0.999, 0.04], [0.999, 0.05]], np.float32)
    train = FeatureTable(features_of_rows, np.array([0, 1, 1], np.int32), np.arange(3))
    test = FeatureTable(features_of_rows[:1], np.array([0], np.int32), np.array([7]))
    source = types.SimpleNamespace(num_examples=1000)
    data = types.SimpleNamespace(
        train=source, test=source, check_classes=lambda *_: None, own_rows=lambda *_: None
    )
    monkeypatch.setattr(features, "extract", lambda *_: train if len(read) == 1 else test)
    rows = {}
    run = types.SimpleNamespace(
        experiment=types.SimpleNamespace(
            config=Config(monitor=Monitor(max_images=100, k=1)),
            jitted_encoder=lambda: np.zeros,
            eval_batches=eval_batches,
            layout=None,
        ),
        writer=types.SimpleNamespace(write=lambda done, row: rows.update({done: row})),
    )
    trees = {"encoder": {}}
    monitor.knn(run, data)(7, TrainState(7, trees, trees, None, {}, {}), {})
    assert rows[7]["knn_top1"] == 1
    for examples in read:
        assert len(set(examples)) == 100 and list(examples) == sorted(examples)
        assert np.histogram(examples, 5, (0, 1000))[0].min() > 8  # of 20


@pytest.mark.parametrize(
    ("first_step", "num_steps", "log_every_steps", "logged"),
    [(0, 1760, 50, [1, 6]), (100, 1760, 500, [101, 106]), (0, 1760, 4, [1]), (0, 3, 50, [1, 3])],
)
def test_the_first_loss_and_speed_are_logged_at_once(first_step, num_steps, log_every_steps, logged, caplog):
    config = types.SimpleNamespace(train=types.SimpleNamespace(log_every_steps=log_every_steps))
    marks = []
    run = types.SimpleNamespace(
        first_step=first_step,
        num_steps=num_steps,
        experiment=types.SimpleNamespace(config=config),
        sampler=types.SimpleNamespace(batch_size=64),
        status=types.SimpleNamespace(first_step_done=lambda: marks.append("status")),
        save_compiled=lambda: marks.append("saved"),
    )
    logger = logging.getLogger("barlow_jax")
    logger.addHandler(caplog.handler)
    try:
        hook = hooks.end_of_compilation(run)
        for done in range(first_step + 1, min(first_step + 9, num_steps) + 1):
            hook(done, None, {"loss": jnp.float32(done)})
    finally:
        logger.removeHandler(caplog.handler)
    assert marks == ["status", "saved"]
    lines = [re.match(r"step (\d+)/(\d+)  loss ([\d.]+)", message).groups() for message in caplog.messages]
    assert lines == [(str(step), str(num_steps), str(step)) for step in logged]


@pytest.mark.parametrize(
    ("keep_every_epochs", "saved"),
    # 20 s a step; the clock is read after steps 4, 8, ...
    [(None, [12, 24, 30]), (1.7, [12, 17, 30])],
)
def test_checkpoints_by_the_clock_and_those_kept_forever(monkeypatch, keep_every_epochs, saved):
    clock, steps = [0.0], []
    monkeypatch.setattr(hooks.time, "monotonic", lambda: clock[0])
    config = Config(
        checkpoint=Checkpoint(every_minutes=4.0, keep_every_epochs=keep_every_epochs, every_epochs=0.1),
        train=Train(log_every_steps=4),
        monitor=Monitor(every_epochs=0.0),
    )
    run = types.SimpleNamespace(
        experiment=types.SimpleNamespace(config=config),
        num_steps=30,
        steps=lambda epochs: round(10 * epochs),
        status=types.SimpleNamespace(during=lambda *_: contextlib.nullcontext()),
        checkpoints=types.SimpleNamespace(save=steps.append),
        source=types.SimpleNamespace(decode_failures=types.SimpleNamespace(flush=lambda: None)),
    )
    hook = hooks.save_checkpoint(run)
    for done in range(1, 31):
        clock[0] += 20.0
        hook(done, done, {})
    assert steps == saved


def test_only_the_evaluation_that_was_interrupted_is_repeated():
    done = []
    run = types.SimpleNamespace(
        first_step=11,
        num_steps=22,
        writer=types.SimpleNamespace(first_step_names={"step", "epoch", "rankme"}),
        checkpoints=types.SimpleNamespace(save=None),
    )
    evaluations = {
        name: lambda step, *_, name=name: done.append((name, step)) for name in ("rankme", "knn_top1")
    }
    hooks.run_missed_evaluations(run, evaluations, None)
    assert done == [("knn_top1", 11)]
    run.first_step = 0
    hooks.run_missed_evaluations(run, evaluations, None)
    assert len(done) == 1
