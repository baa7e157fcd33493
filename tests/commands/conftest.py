"""Fixtures of the tests of commands: a command through its entry point, and one small run."""

import json
import shutil

import pytest

from barlow_jax.__main__ import main


@pytest.fixture
def program(capsys):
    """Return a function that runs a command and returns its results and its standard error."""

    def run(*argv, code=0):
        assert main([str(arg) for arg in argv]) == code
        out, err = capsys.readouterr()
        has_results = code in (0, 3) or (code, argv[0]) == (1, "verify")
        assert out.count("\n") == has_results, "standard output is the one line of results"
        return (json.loads(out) if out else None), err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config_file):
    """Workdir of a finished run, which tests must not change."""
    path = tmp_path_factory.mktemp("run")
    assert main(["pretrain", "--config", config_file, "--workdir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def workdir(finished, tmp_path_factory):
    """Copy of the finished run for the tests of one file."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "run")
