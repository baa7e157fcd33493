"""Encoders of noise, of which no two arrays are alike; fixtures that tests import."""

from flax import traverse_util
import jax
import numpy as np
import pytest

from barlow_jax.augment.views import normalize
from barlow_jax.config.schema import Config, Data, Network as NetworkConfig
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.networks.network import Network


@pytest.fixture
def trained():
    """Return a function from keys of a network to a `TrainedEncoder` with activations of moderate size."""

    def make(data=None, seed=0, step=7, **network):
        config = Config(
            data=data or Data(), network=NetworkConfig(**{"dtype": "float32", "projector": (8,)} | network)
        )
        params, stats = Network(config.network, **config.data.image).shapes()
        rng = np.random.default_rng(seed)

        def noise(path, leaf):
            name = path[-1]
            if name in ("scale", "var"):
                return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            fan_in = np.prod(leaf.shape[:-1]) if name == "kernel" else 100
            return (rng.normal(size=leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

        trees = [
            traverse_util.path_aware_map(noise, {"encoder": tree["encoder"]}) if "encoder" in tree else {}
            for tree in (params, stats)
        ]
        return TrainedEncoder(config, *trees, step)

    return make


@pytest.fixture
def small(trained):
    """Return a function that builds a small `TrainedEncoder` for images of 16 pixels a side."""
    network = {"encoder": "resnet8", "width": 4, "stem": "cifar", "patch": 8}
    return lambda **keys: trained(Data(image_size=16, eval_resize=20), **network | keys)


@pytest.fixture
def noise():
    """`[number, 16, 16, 3]` uint8 images."""
    return lambda number: np.random.default_rng(number).integers(0, 256, (number, 16, 16, 3), np.uint8)


@pytest.fixture
def features():
    """`(trained, images) -> [B, H]` float32 of uint8 images, by our own network."""

    def extract(trained, images):
        network = Network(trained.config.network)
        encode = jax.jit(lambda p, s, x: network.encode(p, s, normalize(x, trained.normalize)))
        # The heads, which encode() does not look at, are there for their shapes.
        params, stats = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), network.shapes())
        return np.asarray(encode(params | trained.params, stats | trained.batch_stats, images))

    return extract
