"""Saved config: what may change when a run resumes."""

import json

import pytest

from barlow_jax.config.overrides import from_tree, to_config_dict
from barlow_jax.config.schema import Config
from barlow_jax.workdir import saved_run


def _workdir(tmp_path, **changes):
    tree = to_config_dict(Config()).to_dict()
    for key, value in changes.items():
        group, name = key.split("__")
        tree[group][name] = value
    (tmp_path / "config.json").write_text(json.dumps(tree))
    return tree


def test_keys_that_affect_learning_may_not_change(tmp_path):
    _workdir(tmp_path, optim__learning_rate=0.3, monitor__k=7, finetune__num_epochs=3, data__cache="encoded")
    (difference,) = saved_run.differences(tmp_path, Config())
    assert "holds a run with config.optim.learning_rate = 0.3, but the new value is 0.2" in difference


def test_a_config_without_a_newer_key_resumes_with_its_default(tmp_path):
    tree = _workdir(tmp_path)
    del tree["data"]["augment_on"], tree["optim"]["grad_scale"], tree["transfer"]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert not saved_run.differences(tmp_path, Config())
    later, _ = from_tree(tree | {"optim": tree["optim"] | {"grad_scale": 0.5}})
    (difference,) = saved_run.differences(tmp_path, later)
    assert "config.optim.grad_scale = 1.0, but the new value is 0.5" in difference


def test_an_empty_workdir_has_no_run(tmp_path):
    assert saved_run.saved_config(tmp_path) is None and not saved_run.differences(tmp_path, Config())


@pytest.mark.parametrize(
    ("folders", "resume", "words"),
    [
        ((), "auto", None),
        ((), "never", None),
        ((), "must", "has no checkpoint; check its path"),
        (("9", "18"), "auto", None),
        (("9", "18"), "never", "has checkpoints up to step 18; use another workdir"),
        (("9", "18"), "must", None),
        (("9.orbax-checkpoint-tmp",), "must", "has no checkpoint"),
        (("9.orbax-checkpoint-tmp",), "never", None),
    ],
)
def test_resume_decides_whether_a_workdir_may_or_must_have_checkpoints(tmp_path, folders, resume, words):
    for name in folders:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    problems = saved_run.resume_problems(tmp_path, resume)
    assert len(problems) == (words is not None) and (not words or words in problems[0])


def test_an_extension_changes_length_and_rate_of_a_run_with_a_checkpoint(tmp_path):
    _workdir(tmp_path, optim__learning_rate=0.3, train__num_epochs=7.0, network__width=32)
    assert len(saved_run.differences(tmp_path, Config())) == 3
    problems = saved_run.differences(tmp_path, Config(), extend=True)
    assert len(problems) == 2 and "config.network.width = 32" in problems[0] and "--extend" in problems[1]
    (tmp_path / "checkpoints" / "9").mkdir(parents=True)
    (problem,) = saved_run.differences(tmp_path, Config(), extend=True)
    assert "config.network.width = 32" in problem


def test_a_view_that_is_left_out_is_a_difference(tmp_path):
    tree = _workdir(tmp_path)
    tree["recipe"]["views"]["c"] = tree["recipe"]["views"]["b"]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert any("config.recipe.views.c." in problem for problem in saved_run.differences(tmp_path, Config()))
