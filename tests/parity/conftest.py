"""Fixtures with torch's arrays: stored in this folder, or computed live where torch is installed."""

import importlib.util
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """Return a folder with arrays that torch writes now, in its own process."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here: pip install -e '.[parity]'")
    folder = tmp_path_factory.mktemp("parity")
    subprocess.run([sys.executable, HERE / "make_fixtures.py", folder], check=True)
    return folder


@pytest.fixture(params=["stored", pytest.param("live", marks=pytest.mark.parity)])
def golden(request):
    """Return a function that loads a case's arrays by name."""
    folder = HERE if request.param == "stored" else request.getfixturevalue("live")

    def load(case):
        with np.load(folder / f"{case}.npz") as data:
            return dict(data)

    return load


@pytest.fixture
def double():
    """Yield a function that converts a tree to float64, with 64-bit JAX enabled."""
    with jax.enable_x64(True):
        yield lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
