"""Fixtures that all tests share: eight CPU devices, a data folder of their own, and one finished run."""

import asyncio
import fcntl
import functools
import gc
import json
import os
import pathlib
import shutil
import tempfile
import types

import bucket_server
from xla_flags import xla_flags

# Set before jax and numpy are imported. Threads of OpenMP and BLAS wait actively for each other: t-SNE of 360
# rows takes 2 s of CPU time with one thread, and 24 s with two on two cores that other workers use too.
os.environ["XLA_FLAGS"] = xla_flags(8)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import gcsfs.retry
import jax
import numpy as np
import pytest

from barlow_jax.__main__ import main
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.distributed import cluster
from barlow_jax.io.paths import Path
from barlow_jax.training import loop

# With TensorFlow imported, full collections of garbage take a third of the time of tracing.
gc.set_threshold(100_000, 50, 100)

# A [D] array that meets a [N, D] one by accident is an error.
jax.config.update("jax_numpy_rank_promotion", "raise")


def _fit_with_transfer_guard(step, *args, fit=loop.fit, **options):
    """Run `fit` with a step that may not copy arrays from the host: it would wait for them in every call."""

    def guarded(state, batch):
        with jax.transfer_guard_host_to_device("disallow"):
            return step(state, batch)

    return fit(guarded, *args, **options)


# Before any module that calls it has imported it.
loop.fit = _fit_with_transfer_guard


def pytest_configure(config):
    """Prepare data sets of TFDS in a fresh folder: it reads the variable when a test module imports it."""
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["TFDS_DATA_DIR"] = folder.name


@pytest.fixture(scope="session", autouse=True)
def _compiled_programs(pytestconfig):
    """Tests, workers and later runs share compiled programs."""
    jax.config.update("jax_compilation_cache_dir", str(pytestconfig.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.03)


@pytest.fixture(scope="session", autouse=True)
def _one_process():
    """Keep `main` from looking for other processes, for which jax must not have been used before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "join", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def config_file():
    """Path of a config that trains in seconds."""
    return str(pathlib.Path(__file__).with_name("small_config.py"))


@pytest.fixture
def small_config(config_file):
    """The ConfigDict of `config_file`."""
    config, problems = load_config_file(config_file)
    assert not problems
    return config


@pytest.fixture
def typed():
    """Function from a ConfigDict to the typed Config, which must be valid."""

    def convert(config_dict):
        config, problems = from_tree(config_dict.to_dict())
        assert not problems
        return config

    return convert


@pytest.fixture
def run_command(capsys):
    """Function that runs a command through `main` and returns its results and standard error."""

    def run(*argv, code=0):
        assert main([str(arg) for arg in argv]) == code
        out, err = capsys.readouterr()
        has_results = code in (0, 3) or (code, argv[0]) == (1, "verify")
        assert out.count("\n") == has_results, "standard output is the one line of results"
        return (json.loads(out) if out else None), err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config_file):
    """Workdir of a finished run, which the workers of pytest-xdist share; read only."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "finished"
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / "results" / "pretrain.json").exists():
            assert main(["pretrain", "--config", config_file, "--workdir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def workdir(finished, tmp_path_factory):
    """Copy of the finished run for the tests of one file."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("copy") / "run")


@pytest.fixture(scope="session")
def _bucket_server():
    """Set the environment so that Google Cloud Storage is a server on this machine."""
    with pytest.MonkeyPatch.context() as patch, bucket_server.process() as url:
        for name, value in bucket_server.environment(url).items():
            patch.setenv(name, value)
        yield url


@pytest.fixture
def bucket(_bucket_server, tmp_path, monkeypatch):
    """Path of an empty folder in a bucket; copies of its data have a folder of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Path(f"gs://{bucket_server.BUCKET}/{tmp_path.name}")
    bucket_server.inject(_bucket_server)


@pytest.fixture
def inject(_bucket_server):
    """Function that injects faults into the server (`bucket_server.py`)."""
    return functools.partial(bucket_server.inject, _bucket_server)


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait before a request to a bucket is repeated."""

    async def sleep(seconds):
        await asyncio.sleep(0.001)

    monkeypatch.setattr(gcsfs.retry, "asyncio", types.SimpleNamespace(sleep=sleep))


@pytest.fixture
def count_requests(_bucket_server):
    """Function that returns how many requests the server has answered."""
    return functools.partial(bucket_server.count_requests, _bucket_server)


@pytest.fixture(scope="session")
def relative():
    """Function of two trees of arrays: their distance relative to the second one, in the Euclidean norm."""

    def distance(tree, reference):
        pairs = list(zip(*map(jax.tree.leaves, (tree, reference)), strict=True))
        return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(b**2) for _, b in pairs))

    return distance


@pytest.fixture(params=[1, 8])
def devices(request):
    """The first one, and all eight devices."""
    return jax.devices()[: request.param]
