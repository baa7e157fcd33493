import dataclasses
import functools
import json

import pytest

from barlow_jax.config import overrides, records
from barlow_jax.config.schema import Config


def _overridden(*pairs):
    tree = overrides.default_config().to_dict()
    problems = overrides.apply_overrides(tree, pairs)
    config, more = overrides.from_tree(tree)
    return config, problems + more


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_config_file_has_finite_numbers(value):
    """Every key, alone and in a list; the largest integer has 64 bits."""
    tree = overrides.default_config().to_dict()
    keys = list(records.flatten(tree))
    for key in keys:
        *parents, leaf = key.split(".")
        group = functools.reduce(lambda inner, name: inner[name], parents, tree)
        group[leaf] = [value] if isinstance(group[leaf], tuple) else value
    problems = overrides.from_tree(tree)[1]
    assert sorted(problem.split(" is ")[0].removeprefix("config.") for problem in problems) == sorted(keys)
    assert f"config.objective.scale is {value}, but must be a number > 0." in problems


def test_the_defaults_survive_the_way_through_configdict_and_json():
    tree = json.loads(json.dumps(overrides.default_config().to_dict()))
    config, problems = overrides.from_tree(tree)
    assert config == Config() and not problems


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optim.learning_rate", "0.3", 0.3),
        ("optim.learning_rate", "1", 1.0),
        ("optim.bias_learning_rate", "none", None),
        ("train.batch_size", "512", 512),
        ("train.max_steps", "2", 2),
        ("network.projector", "(64, 128)", (64, 128)),
        ("network.projector", "64,128", (64, 128)),
        ("probe.augment", "false", False),
        ("data.data_dir", "/data", "/data"),
        ("network.dtype", "float32", "float32"),
        ("recipe.views.b.blur.probability", "0.5", 0.5),
        ("recipe.views.a.normalize.mean", "0.5,0.5,0.5", (0.5, 0.5, 0.5)),
    ],
)
def test_an_override_is_read_as_its_fields_type(key, text, value):
    config, problems = _overridden((key, text))
    assert not problems
    assert records.flatten(dataclasses.asdict(config))[key] == value


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("train.batch_size", "12.5", "is '12.5', but must be an integer >= 2."),
        ("train.batch_size", "true", "is 'true', but must be an integer >= 2."),
        ("optim.learning_rate", "fast", "is 'fast', but must be a number > 0."),
        ("optim.learning_rate", "1e999", "is '1e999', but must be a number > 0."),
        ("probe.augment", "maybe", "is 'maybe', but must be true or false."),
        ("data.augment_on", "gpu", "is 'gpu', but must be one of host, device."),
        ("network.projector", "64,x", "is '64,x', but must be a list of integers, each >= 1."),
        ("seed", "9" * 30, f"is '{'9' * 30}', but must be an integer >= 0."),
        ("train.max_steps", "many", "is 'many', but must be an integer >= 1, or none."),
        ("optim.lr", "1", "does not exist. Did you mean config.optim.learning_rate?"),
        ("optim.momentun", "1", "does not exist. Did you mean config.optim.momentum?"),
        ("probe.dtype", "1", "does not exist. Did you mean config.network.dtype?"),
        (
            "knn.beta",
            "1",
            "does not exist. The keys of knn are "
            "euclidean_k, k, label_fractions, subset_repeats, temperature.",
        ),
        ("optm.learning_rate", "1", "does not exist. Did you mean config.optim.learning_rate?"),
        (
            "recipe.views.jitter.probability",
            "1",
            "does not exist. Did you mean config.recipe.views.a.jitter.probability?",
        ),
        ("views.b.blur.max_sigm", "1", "does not exist. Did you mean config.recipe.views.b.blur.max_sigma?"),
        ("train.lr", "1", "does not exist. Did you mean config.optim.learning_rate?"),
        ("finetune.learning_rate", "1", "does not exist. Did you mean config.finetune.head_learning_rate?"),
        (
            "batch_size",
            "1",
            "does not exist. Did you mean config.finetune.batch_size or config.probe.batch_size or "
            "config.train.batch_size?",
        ),
        ("recipe.views.c.cut", "1", "does not exist. The keys of recipe.views are a, b."),
        (
            "checkpoint",
            "1",
            "is a group of keys: every_epochs, every_minutes, keep_every_epochs, keep_newest.",
        ),
    ],
)
def test_a_wrong_override_is_one_problem_with_the_remedy(key, text, message):
    config, problems = _overridden((key, text))
    assert problems == [f"config.{key} {message}"]
    assert config == Config(), "a wrong value keeps its default, so that the other checks make sense"


def test_all_wrong_overrides_are_named_at_once():
    _, problems = _overridden(("optm.name", "sgd"), ("train.batch_size", "x"), ("nothing", "1"))
    assert len(problems) == 3


def test_a_config_file_with_a_typo_is_named_with_its_line(tmp_path):
    path = tmp_path / "typo.py"
    path.write_text(
        "from barlow_jax.config.overrides import default_config\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.optim.learning_rat = 0.3\n"
        "    return config\n"
    )
    _, problems = overrides.load_config_file(str(path))
    assert len(problems) == 1
    assert f"{path}, line 4" in problems[0] and "learning_rate" in problems[0]


def test_a_config_file_must_return_a_configdict(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("def get_config():\n    pass\n")
    _, problems = overrides.load_config_file(str(path))
    assert problems == [f"{path}: TypeError: get_config() must return a ConfigDict, not NoneType"]


def test_a_missing_config_file_names_its_nearest_neighbor(tmp_path):
    (tmp_path / "digits.py").write_text("")
    _, problems = overrides.load_config_file(str(tmp_path / "digit.py"))
    assert problems == [f"--config: {tmp_path}/digit.py does not exist. Did you mean {tmp_path}/digits.py?"]


def test_a_saved_config_of_another_version_is_checked_like_any_other():
    tree = overrides.default_config().to_dict()
    tree["optim"]["beta"] = 1
    tree["train"]["batch_size"] = "many"
    tree["network"] = 3
    tree["transfer"] = 4
    _, problems = overrides.from_tree(tree)
    assert sorted(problems) == [
        "config.network is 3, but must be a group of keys.",
        "config.optim.beta does not exist.",
        "config.train.batch_size is 'many', but must be an integer >= 2.",
        "config.transfer is 4, but must be a group of keys.",
    ]
