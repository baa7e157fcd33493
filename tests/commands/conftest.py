"""One small run that the tests of the programs share."""

import json
import shutil

import pytest

from barlow_jax.__main__ import main


@pytest.fixture
def program(capsys):
    """Runs a program through its entry point; its results and what it said."""

    def run(*argv, code=0):
        assert main([str(arg) for arg in argv]) == code
        out, err = capsys.readouterr()
        tells = code in (0, 3) or (code, argv[0]) == (1, "verify")
        assert out.count("\n") == tells, "standard output is the one line of results"
        return (json.loads(out) if out else None), err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config_file):
    """A finished run, which nobody writes to."""
    path = tmp_path_factory.mktemp("run")
    assert main(["pretrain", "--config", config_file, "--workdir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def workdir(finished, tmp_path_factory):
    """A copy of it, for the tests of one file."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "run")
