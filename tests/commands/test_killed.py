"""A run that is killed at any moment has the result of an uninterrupted run."""

import os
import pathlib
import subprocess
import sys

import pytest

SOAK = pathlib.Path(__file__).parents[1] / "soak.py"


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "where"), [(1, ()), (20, ()), (20, ("--bucket",))])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, kills, where):
    soak = subprocess.run(
        [sys.executable, SOAK, f"--kills={kills}", "--folder", tmp_path, *where],
        env=os.environ | {"PYTHONPATH": str(SOAK.parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120 + (90 if where else 30) * kills,
    )
    assert soak.returncode == 0, soak.stdout
    assert f"{kills} kills" in soak.stdout and ", 0 of them different" in soak.stdout
    assert "during a save" in soak.stdout
