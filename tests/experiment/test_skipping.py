"""Skipped steps in a row: when the run stops, what it saves, and its report."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.schema import Config, Objective, Train
from barlow_jax.errors import RunError
from barlow_jax.experiment.skipping import SkipWatch
from barlow_jax.training.loop import fit
from barlow_jax.types import Batch, TrainState


class _Prefetcher:
    def __init__(self, first):
        self.number = first

    def next(self, running):
        del running
        self.number += 1
        return Batch({}, None, jnp.array([self.number, -self.number]))


def _run(tmp_path, skipped, *, max_in_a_row=3, num_steps=20, first=0, before=0, newest=-1, objective="byol"):
    """Run steps, skipping those in `skipped`; return the steps done, the steps saved, and the error."""
    saved, done = [], []
    experiment = SimpleNamespace(
        config=Config(train=Train(max_skipped_steps=max_in_a_row), objective=Objective(name=objective)),
        layout=SimpleNamespace(replicate=lambda index: index),
    )
    checkpoints = SimpleNamespace(steps=[newest], save=lambda state: saved.append(int(state.step)))
    run = SimpleNamespace(
        workdir=tmp_path,
        first_step=first,
        num_steps=num_steps,
        experiment=experiment,
        checkpoints=checkpoints,
    )
    state = TrainState(
        jnp.asarray(first), None, None, optax.ScaleByScheduleState(jnp.asarray(first - before))
    )
    watch = SkipWatch(run, state)
    total = [before]

    def step(state, batch):
        del batch
        step = int(state.step) + 1
        total[0] += step in skipped
        metrics = {"loss": np.float32(1.0), "skipped_steps": np.int32(total[0])}
        return state._replace(step=jax.device_put(step)), jax.device_put(metrics)

    hooks = [watch, lambda number, state, metrics: done.append(number)]
    try:
        fit(watch.note_examples(step), state, _Prefetcher(first), num_steps=num_steps, hooks=hooks)
    except RunError as error:
        return done, saved, str(error)
    return done, saved, None


def test_too_many_in_a_row_stop_the_run_with_a_checkpoint_and_the_ids_of_the_images(tmp_path):
    done, saved, error = _run(tmp_path, {2, 5, 6, 8, 9, 10, 11})
    assert done[-1] == 11 and saved == [12], "seen two steps later"
    assert "3 steps in a row, 8 to 10" in error and "after step 7 is saved" in error
    for remedy in ("config.optim.learning_rate", "older checkpoint", "config.train.max_skipped_steps"):
        assert remedy in error
    report = json.loads((tmp_path / "results" / "skipped.json").read_text())
    assert report == {
        "last_finite_step": 7,
        "skipped": [{"step": n, "examples": [n, -n]} for n in (8, 9, 10)],
    }


def test_steps_skipped_before_this_start_are_no_part_of_a_row(tmp_path):
    done, _, error = _run(tmp_path, {12, 13}, first=10, before=5)
    assert done[-1] == 20 and error is None


def test_the_methods_own_remedy_comes_first(tmp_path):
    advice = METHODS["w_mse"].if_not_finite
    assert f"Remedies: {advice}; a lower" in _run(tmp_path, {2, 3, 4}, objective="w_mse")[2]


def test_a_report_that_cannot_be_written_is_logged_and_the_state_is_saved(tmp_path, capsys):
    (tmp_path / "results").write_text("no folder")
    _, saved, error = _run(tmp_path, {2, 3, 4})
    assert saved and "after step 1 is saved" in error
    err = capsys.readouterr().err
    assert "skipped.json cannot be written" in err and '"step": 3, "examples": [3, -3]' in err


def test_single_skips_and_short_bursts_do_not_stop_the_run(tmp_path):
    done, saved, error = _run(tmp_path, {1, 2, 4, 5, 7, 19, 20})
    assert error is None and done[-1] == 20 and saved == [] and not list(tmp_path.iterdir())


def test_the_last_steps_count(tmp_path):
    assert "18 to 20" in _run(tmp_path, {18, 19, 20})[2]


@pytest.mark.parametrize("max_in_a_row", [None, 21])
def test_any_number_can_be_allowed(tmp_path, max_in_a_row):
    assert _run(tmp_path, set(range(1, 21)), max_in_a_row=max_in_a_row)[2] is None


def test_a_run_that_is_restarted_again_and_again_saves_its_last_finite_state_once(tmp_path):
    """Otherwise its copies would replace the intact checkpoints."""
    _, saved, error = _run(tmp_path, set(range(10, 21)), first=9, before=2, newest=9)
    assert saved == [] and "after step 9 was saved before" in error


def test_steps_that_were_skipped_before_the_start_are_not_counted_again(tmp_path):
    assert _run(tmp_path, {10, 11}, first=9, before=5, newest=9)[2] is None
