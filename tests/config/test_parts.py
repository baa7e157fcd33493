"""Names of parts in a config: shipped, registered, functions, and what is none of these."""

import dataclasses

import own_parts
import pytest

from barlow_jax.config import parts
from barlow_jax.config.overrides import default_config, from_tree
from barlow_jax.config.schema import Config, Data, Network
from barlow_jax.config.training import Optim
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import UserError


def _problems(**network):
    config = Config(network=Network(branches="own", **network))
    return [
        problem for problem in validate(config, Facts()) if "ncoder is" in problem or "head is" in problem
    ]


@pytest.mark.parametrize("name", ["own_parts:ConvNet", "nets.py:ConvNet", "registered_convnet", "resnet8"])
def test_names_that_may_exist_are_accepted(name):
    assert not _problems(encoder=name, second_encoder=name)
    assert parts.is_own("encoder", name) == (name != "resnet8")


@pytest.mark.parametrize("key", ["encoder", "second_encoder"])
def test_an_unknown_name_is_one_problem_with_the_nearest_known_one(key):
    (problem,) = _problems(**{key: "resnet49"})
    assert problem.startswith(f"config.network.{key} is 'resnet49', ") and "Did you mean resnet" in problem
    assert ("gru" in problem) == (key == "second_encoder") and "--import" in problem
    assert "Did you mean registered_convnet?" in _problems(**{key: "registered_convnets"})[0]


def test_each_kind_is_checked_under_its_key():
    optim = Optim(name="adam", schedule="cosine")
    config = Config(network=Network(head="cnn"), optim=optim)
    config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, name="barlow"))
    keys = [problem.split(" ")[0] for problem in validate(config, Facts())]
    expected = {"network.head", "optim.name", "optim.schedule", "objective.name"}
    assert {f"config.{key}" for key in expected} <= {*keys}


def test_a_path_of_code_is_recorded_as_an_absolute_one_and_other_names_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = default_config().to_dict()
    tree["network"] |= {"encoder": "nets.py:Net", "head": "nets:Head"}
    tree["data"] |= {"name": "images", "data_dir": "nets:photographs"}
    config, problems = from_tree(tree)
    assert not problems and config.network.encoder == f"{tmp_path}/nets.py:Net"
    assert (config.network.head, config.data.data_dir) == ("nets:Head", "nets:photographs")
    assert from_tree({"data": {"data_dir": "photographs"}})[0].data == Data(
        data_dir=f"{tmp_path}/photographs"
    )


def test_a_name_can_be_registered_again_but_not_that_of_a_shipped_part():
    parts.register("schedule", "twice", own_parts.lion)
    parts.register("schedule", "twice", own_parts.linear)
    assert parts.find("schedule", "twice") is own_parts.linear
    for kind, name in (("encoder", "resnet50"), ("encoder", "a:b"), ("layer", "x")):
        with pytest.raises(UserError):
            parts.register(kind, name, own_parts.linear)
    with pytest.raises(UserError, match="--import"):
        parts.find("optimizer", "twice")


def test_modules_are_found_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_parts_here.py").write_text("def build(): return 3\n")
    with pytest.raises(UserError, match="working directory"):
        parts.find("encoder", "my_parts_here:build")
    monkeypatch.chdir(tmp_path)
    assert parts.find("encoder", "my_parts_here:build")() == 3
