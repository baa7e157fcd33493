"""A finished run for the tests of the report."""

import pytest

from barlow_jax.__main__ import main


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, config_file):
    """Return the workdir of a finished run."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["pretrain", "--config", config_file, "--workdir", str(path)]) == 0
    return path
