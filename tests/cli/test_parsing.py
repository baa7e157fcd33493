"""Parsing of command lines: suggestions, paths, and help texts."""

import shlex
import subprocess
import sys

import pytest

from barlow_jax import commands
from barlow_jax.__main__ import main
from barlow_jax.cli import parsing
from barlow_jax.config import overrides

NAMES = sorted(parsing.summaries(commands))


def test_without_a_command_all_commands_are_listed(capsys):
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    text = capsys.readouterr().err
    assert all(f"    {name} " in text or f"    {name}\n" in text for name in NAMES)


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (["pretain"], "Did you mean pretrain?"),
        (["show_views"], "Did you mean show-views?"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(capsys, argv, suggestion):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2 and suggestion in capsys.readouterr().err


@pytest.mark.parametrize(
    ("token", "suggestion"),
    [
        ("--workdri=x", "Did you mean --workdir?"),
        ("--dry_run", "Did you mean --dry-run?"),
        ("--confg.seed=1", "Did you mean --config.seed?"),
        ("--qqqq", "See --help"),
    ],
)
def test_an_unknown_flag_gets_a_suggestion(token, suggestion):
    _, _, (problem,) = parsing.parse(commands, ["pretrain", token])
    assert problem.startswith(f"{token} is no argument") and suggestion in problem


def test_home_is_expanded_in_flags_and_config_keys(monkeypatch):
    monkeypatch.setenv("HOME", "/home/user")
    argv = ["knn", "--config=~/c.py", "--workdir=~/run", "--encoder=~/e", "--config.data.data_dir=~/data"]
    _, args, problems = parsing.parse(commands, argv)
    assert (args.config, args.workdir, args.encoder) == ("/home/user/c.py", "/home/user/run", "/home/user/e")
    tree = overrides.default_config().to_dict()
    assert not problems + overrides.apply_overrides(tree, args.overrides)
    assert overrides.from_tree(tree)[0].data.data_dir == "/home/user/data"


def test_a_relative_data_folder_is_recorded_as_an_absolute_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tree = overrides.default_config().to_dict()
    places = next(iter(tree["transfer"].values()))["data"]
    tree["data"]["data_dir"], places["data_dir"] = "images/../photos", "gs://bucket/x"
    tree["data"]["labels"], places["labels"] = "folders", "classes.csv"
    config, problems = overrides.from_tree(tree)
    assert not problems and config.data.data_dir == str(tmp_path / "photos")
    assert next(iter(config.transfer.values())).data.data_dir == "gs://bucket/x"
    assert config.data.labels == "folders"
    assert next(iter(config.transfer.values())).data.labels == str(tmp_path / "classes.csv")


@pytest.mark.parametrize("name", NAMES)
def test_help_has_a_summary_and_examples_that_parse(capsys, name):
    with pytest.raises(SystemExit) as error:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert error.value.code == 0 and parsing.summaries(commands)[name].endswith(".")
    module = parsing.load(commands, name)
    assert module.COMMAND.examples
    for example in module.COMMAND.examples:
        assert f"python -m barlow_jax {example}" in text
        argv = shlex.split(example, comments=True)
        assert argv[0] == name and not parsing.parse(commands, argv)[2]


def test_no_help_text_waits_for_jax():
    """jax, flax and orbax take two seconds to import, TensorFlow ten."""
    program = (
        "import sys; from barlow_jax import __main__, commands; from barlow_jax.cli import parsing; "
        f"modules = [parsing.load(commands, name) for name in {NAMES}]; "
        "sys.exit(len({'jax', 'flax', 'orbax', 'tensorflow', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
