import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import Network as NetworkConfig
from barlow_jax.networks.network import Network


def _network(**kwargs):
    return Network(NetworkConfig(encoder="resnet8", width=4, stem="cifar", projector=(16, 8), **kwargs))


def _init(network, seed=0):
    return jax.jit(network.init)(jax.random.key(seed))


def _images(seed=0):
    return np.random.default_rng(seed).normal(size=(8, 8, 8, 3)).astype(np.float32)


def test_parameters_depend_on_the_key_alone():
    one, two, other = (_init(_network(), k)[0] for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert np.any(one["projector"]["layers"][0]["kernel"] != other["projector"]["layers"][0]["kernel"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_statistics_and_representation_are_float32(dtype):
    network = _network(dtype=dtype)
    params, stats = _init(network)
    outputs, new_stats = jax.jit(network.apply)(params, stats, _images())
    assert {leaf.dtype for leaf in jax.tree.leaves((params, stats, new_stats))} == {jnp.dtype("float32")}
    assert outputs.representation.dtype == jnp.float32 and outputs.embedding.dtype == dtype


def test_training_moves_the_running_averages_by_a_tenth():
    network = _network(dtype="float32")
    params, stats = _init(network)
    _, new_stats = jax.jit(network.apply)(params, stats, _images())
    kernel = params["encoder"]["conv"]["kernel"]
    hidden = jax.lax.conv_general_dilated(
        _images(), kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean, variance = np.mean(hidden, (0, 1, 2)), np.var(hidden, (0, 1, 2))
    norm = new_stats["encoder"]["norm"]
    np.testing.assert_allclose(norm["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    # flax's running variance is the biased one; torch's has a factor n / (n - 1) more.
    np.testing.assert_allclose(norm["var"], 0.9 + 0.1 * variance, rtol=1e-4)


def test_the_frozen_encoder_sees_each_image_by_itself():
    network = _network(dtype="float32")
    params, stats = _init(network)
    together = jax.jit(network.encode)(params, stats, _images())
    alone = jax.jit(network.encode)(params, stats, _images()[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)


def test_heads_are_those_that_the_config_names():
    network = _network(predictor=(12, 8), num_classes=5)
    params, stats = _init(network)
    assert set(params) == {"encoder", "projector", "predictor", "classifier"}
    outputs, _ = jax.jit(network.apply)(params, stats, _images())
    assert outputs.prediction.shape == outputs.embedding.shape == (8, 8) and outputs.logits.shape == (8, 5)
    bare, _ = _init(Network(NetworkConfig(encoder="resnet8", width=4, projector=())))
    assert set(bare) == {"encoder"}
