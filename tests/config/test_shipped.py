"""Shipped configs by name: a file of that name wins, and a wrong name is answered with a near one."""

import json

import pytest

from barlow_jax.__main__ import main
from barlow_jax.config import shipped
from barlow_jax.config.overrides import load_config_file
from barlow_jax.errors import UserError
from barlow_jax.reporting.study import read_grid


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("digits", ("digits", None)),
        ("vicreg:digits", ("vicreg", "digits")),
        ("a/b.py", ("a/b.py", None)),
        ("/c:d/b.py:digits", ("/c:d/b.py", "digits")),
        ("/c:d/b.py", ("/c:d/b.py", None)),
    ],
)
def test_the_argument_follows_a_colon(config, parts):
    assert shipped.split_argument(config) == parts


def test_a_name_works_from_any_folder_and_a_file_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name, problems = load_config_file("digits")
    assert not problems and by_name == load_config_file(str(shipped.FOLDER / "digits.py"))[0]
    config, problems = load_config_file("vicreg:digits")  # which loads its sibling
    assert not problems and (config.objective.name, config.data.name) == ("vicreg", "digits")
    (tmp_path / "digits").mkdir()  # a folder of that name, such as a workdir, is no config file
    assert shipped.config_path("digits").parent == shipped.FOLDER
    (tmp_path / "moco").write_text("")
    assert shipped.config_path("moco").absolute() == tmp_path / "moco"


@pytest.mark.parametrize(
    ("name", "near"), [("digts", "digits"), ("configs/digits.py", "digits"), ("zzz", " digits, ")]
)
def test_a_wrong_name_is_answered_with_a_near_one(name, near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=near):
        shipped.config_path(name)
    _, problems = load_config_file(f"{name}:x")
    assert len(problems) == 1 and near in problems[0]


def test_commands_take_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "data.name", "--config", "digits"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data.name": "digits"}
    assert main(["pretrain", "--config", "digts", "--workdir", "run"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_grid_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_grid("study") == read_grid(str(shipped.FOLDER / "study.json"))
    with pytest.raises(UserError, match="study"):
        read_grid("studdy")
