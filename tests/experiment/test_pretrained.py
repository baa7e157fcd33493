"""Encoder as a function, on its own mesh and in other programs."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np
import pytest
from resnet_state_dict import to_torchvision
from safetensors.numpy import save_file

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.experiment.pretrained import load
from barlow_jax.networks.network import Network

NETWORK = Network(NetworkConfig(encoder="resnet8", width=4, stem="cifar", projector=(), dtype="float32"))


@pytest.fixture(scope="module")
def trees():
    init = jax.jit(NETWORK.init)
    return jax.device_get(init(jax.random.key(0)))


@pytest.fixture(scope="module")
def file(trees, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    save_file(to_torchvision(*(tree["encoder"] for tree in trees)), path)
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(trees, images):
    """Return the features after normalization by ImageNet's published mean and standard deviation."""
    pixels = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.asarray(NETWORK.encode(*trees, pixels.astype(np.float32)))


def test_features_are_those_of_the_normalized_images(file, images, expected, devices):
    encoder = load(file, devices=devices)
    features = encoder(images)
    assert features.shape == (5, encoder.width) and features.dtype == jnp.float32
    assert features.sharding.device_set == set(devices)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    elsewhere = jax.device_put(images[:1], jax.devices()[-1])
    np.testing.assert_allclose(encoder(elsewhere), expected[:1], rtol=1e-5, atol=1e-6)
    assert (encoder.step, encoder.image_size, encoder.config.network.encoder) == (-1, 224, "resnet8")


def test_in_a_program_of_another_mesh(file, images, expected):
    """The caller places parameters and rows, over two axes and with the devices in another order."""
    mesh = Mesh(np.array(jax.devices())[::-1][:4].reshape(2, 2), ("x", "y"))
    encoder = load(file, devices=mesh.devices.flat)
    params = jax.device_put(encoder.params, NamedSharding(mesh, PartitionSpec()))
    rows = jax.device_put(np.repeat(images, 4, 0), NamedSharding(mesh, PartitionSpec(("x", "y"))))
    features = jax.jit(encoder.apply)(params, rows)
    np.testing.assert_allclose(features[::4], expected, rtol=1e-5, atol=1e-6)


def test_within_a_jitted_function_its_arrays_are_constants(file, images, expected):
    encoder = load(file)  # on eight devices, called on one
    features = jax.jit(lambda rows: encoder(rows) * 2)(images)
    np.testing.assert_allclose(features, 2 * expected, rtol=1e-5, atol=1e-6)


def test_parameters_are_trained_on(file, images):
    """The gradient of the first kernel against differences in float32, to 2 %."""
    encoder = load(file, devices=jax.devices()[:1])

    def loss(params):
        return jnp.mean(encoder.apply(params, images) ** 2)

    gradient = jax.jit(jax.grad(loss))(encoder.params)
    direction = jax.tree.map(jnp.zeros_like, gradient)
    direction["conv"]["kernel"] = gradient["conv"]["kernel"] / jnp.linalg.norm(gradient["conv"]["kernel"])
    forward, backward = (
        jax.jit(loss)(jax.tree.map(lambda p, d, s=s: p + s * d, encoder.params, direction))
        for s in (1e-2, -1e-2)
    )
    slope = float(jnp.linalg.norm(gradient["conv"]["kernel"]))
    assert float(forward - backward) / 2e-2 == pytest.approx(slope, rel=0.02)


def test_bfloat16_can_be_selected(file, images, expected):
    features = load(file, dtype="bfloat16")(images)
    distance = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert features.dtype == jnp.float32 and 1e-5 < distance < 2e-2


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3)),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_other_arrays_than_images_are_refused(file, wrong):
    encoder = load(file, devices=jax.devices()[:1])
    with pytest.raises(ValueError, match=r"needs \[B, height, width, 3\] uint8 pixel values") as error:
        encoder(wrong)
    assert str(list(wrong.shape)) in str(error.value) and str(wrong.dtype) in str(error.value)


def test_a_file_of_other_channels_is_refused_with_the_key(tmp_path):
    network = dataclasses.replace(NETWORK, channels=5)
    trees = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), network.shapes())
    save_file(to_torchvision(*(tree["encoder"] for tree in trees)), tmp_path / "five.safetensors")
    with pytest.raises(UserError, match=r"config.data.channels is 3, but the encoder in .* has 5"):
        load(tmp_path / "five.safetensors")


def test_a_missing_or_outdated_encoder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"load: .* holds no encoder\. Pass the workdir of a run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"data": {}, "netwrk": {}}')
    with pytest.raises(UserError, match=r"not of this version:\n  config.netwrk does not exist"):
        load(tmp_path)
