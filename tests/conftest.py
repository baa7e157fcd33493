"""Every test sees eight CPU devices and a data folder of its own."""

import os
import pathlib

# Before anything imports jax. Programs here run for milliseconds: LLVM need not spend seconds on them, and the
# older kernels of XLA are built in half the time of its newer ones.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import pytest

from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.distributed import cluster


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory):
    """The digits are prepared afresh, and a program that two tests compile, of whichever worker, is compiled once."""
    os.environ["TFDS_DATA_DIR"] = str(tmp_path_factory.mktemp("tfds"))
    ours = tmp_path_factory.getbasetemp()
    of_all_workers = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    jax.config.update("jax_compilation_cache_dir", str(of_all_workers / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session", autouse=True)
def _alone():
    """A test that calls `main` has used jax before, and it is too late to look for other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "join", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def config_file():
    return str(pathlib.Path(__file__).with_name("small_config.py"))


@pytest.fixture
def small_config(config_file):
    """The ConfigDict of that file."""
    config, problems = load_config_file(config_file)
    assert not problems
    return config


@pytest.fixture
def typed():
    """ConfigDict to the typed Config, which must have nothing wrong with it."""

    def convert(config_dict):
        config, problems = from_tree(config_dict.to_dict())
        assert not problems
        return config

    return convert


@pytest.fixture
def digits(small_config, typed):
    """The data set prepared, which two processes at once would do in each other's way."""
    from barlow_jax.data import sources

    sources.open_split(typed(small_config).data, "train")


@pytest.fixture(scope="session")
def relative():
    """How far one tree of arrays is from another, relative to the other, in the Euclidean norm."""

    def distance(one, other):
        pairs = list(zip(*map(jax.tree.leaves, (one, other)), strict=True))
        return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(b**2) for _, b in pairs))

    return distance


@pytest.fixture(params=[1, 8])
def devices(request):
    return jax.devices()[: request.param]
