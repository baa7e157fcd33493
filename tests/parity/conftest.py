"""Where the reference's arrays come from: the folder, or torch itself where it is installed."""

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
    """The folder that torch has just written, in a process of its own."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here: pip install -e '.[parity]'")
    folder = tmp_path_factory.mktemp("parity")
    subprocess.run([sys.executable, HERE / "make_fixtures.py", folder], check=True)
    return folder


@pytest.fixture(params=["stored", pytest.param("live", marks=pytest.mark.parity)])
def golden(request):
    """A case's arrays by name."""
    folder = HERE if request.param == "stored" else request.getfixturevalue("live")

    def load(case):
        with np.load(folder / f"{case}.npz") as data:
            return dict(data)

    return load


@pytest.fixture
def double():
    """Parameters and images to float64, which JAX then keeps."""
    with jax.enable_x64(True):
        yield lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
