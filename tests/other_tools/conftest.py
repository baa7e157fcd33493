"""Run the other tool in a process of its own, since torch and TensorFlow cannot share one."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from trained_encoders import features, noise, small, trained  # noqa: F401


@pytest.fixture
def other_tool(tmp_path):
    """`(package, code, *inputs) -> array`: what the code, Python that the package is there for, saves.

    It finds the inputs, arrays, in the list `given`, and calls `give(array)` at its end.
    """

    def run(package, code, *inputs):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed here: pip install -e '.[interop]'")
        paths = [tmp_path / f"given{number}.npy" for number in range(len(inputs))]
        for path, array in zip(paths, inputs, strict=True):
            np.save(path, array)
        head = [
            "import numpy as np",
            f"given = [np.load(path) for path in {[str(path) for path in paths]}]",
            f"give = lambda array: np.save({str(tmp_path / 'given_back.npy')!r}, array)",
        ]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join([*head, code])], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "given_back.npy")

    return run


@pytest.fixture
def images():
    """`[B, size, size, 3]` uint8 noise by size."""
    rng = np.random.default_rng(0)
    return lambda size, number=3: rng.integers(0, 256, (number, size, size, 3), np.uint8)
