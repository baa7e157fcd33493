"""A run that is killed at any moment has the result of an uninterrupted run."""

import os
import pathlib
import subprocess
import sys

import pytest

SOAK = pathlib.Path(__file__).parents[1] / "soak.py"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 20])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, kills):
    soak = subprocess.run(
        [sys.executable, SOAK, f"--kills={kills}", "--folder", tmp_path],
        env=os.environ | {"PYTHONPATH": str(SOAK.parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120 + 30 * kills,
    )
    assert soak.returncode == 0, soak.stdout
    assert f"{kills} kills" in soak.stdout and ", 0 of them different" in soak.stdout
    assert "during a save" in soak.stdout
