"""Every test sees eight CPU devices and a data folder of its own."""

import os

# Before anything imports jax. Programs here run for milliseconds: LLVM need not spend seconds on them.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import pytest

from barlow_jax.configdict import default_config, from_tree


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory):
    """The digits are prepared afresh, and a program that two tests compile is compiled once."""
    os.environ["TFDS_DATA_DIR"] = str(tmp_path_factory.mktemp("tfds"))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def small_config():
    """A ConfigDict of digits and a network so small that a step takes milliseconds."""
    config = default_config()
    config.data.name = "digits"
    config.data.eval_split = "test"
    config.data.image_size = config.data.eval_resize = 8
    config.network.encoder = "resnet8"
    config.network.width = 4
    config.network.stem = "cifar"
    config.network.projector = (16, 16)
    config.network.dtype = "float32"
    config.train.batch_size = 128
    config.train.num_epochs = 2.0
    config.train.log_every_steps = 2
    config.optim.warmup_epochs = 0.5
    config.eval_batch_size = 512
    config.monitor.every_epochs = 1.0
    config.probe.num_epochs = 2
    config.probe.augment = False
    return config


@pytest.fixture
def typed():
    """ConfigDict to the typed Config, which must have nothing wrong with it."""

    def convert(config_dict):
        config, problems = from_tree(config_dict.to_dict())
        assert not problems
        return config

    return convert


@pytest.fixture(params=[1, 8])
def devices(request):
    return jax.devices()[: request.param]
