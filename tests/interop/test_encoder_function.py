"""The exported function against the encoder of the evaluations."""

import dataclasses

import jax
from jax import export
import numpy as np
import pytest

from barlow_jax.config.architectures import VITS
from barlow_jax.config.method_facts import HEADS
from barlow_jax.config.recipe import Normalize, Recipe, View
from barlow_jax.config.schema import Data
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.evals import features
from barlow_jax.interop import encoder_function
from barlow_jax.networks.network import Network


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_are_those_of_the_evaluations(small, noise, dtype):
    subject = small(dtype=dtype)
    images = noise(5)
    network = Network(dataclasses.replace(subject.config.network, **HEADS))
    encoder = features.make_encoder(network, Layout(make_mesh(jax.devices()[:1])), subject.normalize)
    expected = encoder(subject.params, subject.batch_stats, images)
    found = jax.jit(encoder_function.encode(subject))(encoder_function.weights_of(subject), images)
    assert found.shape == (5, subject.num_features) and found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_float_images_of_five_channels_are_the_input_as_they_are(trained):
    """The number of images is a symbol in the shape; uint8 pixel values would be divided by 255."""
    data = Data(image_size=16, channels=5, pixel_dtype="float32")
    subject = trained(data, encoder="resnet8", width=4, stem="cifar")
    one_for_all = Recipe({"a": View(normalize=Normalize((0.5,), (0.25,)))})
    subject = dataclasses.replace(subject, config=dataclasses.replace(subject.config, recipe=one_for_all))
    images = np.random.default_rng(0).random((2, 16, 16, 5), dtype=np.float32)
    network = Network(dataclasses.replace(subject.config.network, **HEADS), channels=5)
    expected = network.encode(subject.params, subject.batch_stats, 4 * images - 2)
    result = encoder_function.encode(subject)(encoder_function.weights_of(subject), images)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    assert subject.input_shape == (16, 16, 5)


def test_weights_are_all_arrays_by_their_path(small):
    subject = small()
    weights = encoder_function.weights_of(subject)
    trees = (subject.params, subject.batch_stats)
    assert len(weights) == len(jax.tree.leaves(trees))
    block = subject.params["encoder"]["stages"][1][0]
    np.testing.assert_array_equal(weights["params/encoder/stages/1/0/conv1/kernel"], block["conv1"]["kernel"])
    np.testing.assert_array_equal(
        weights["batch_stats/encoder/norm/var"], subject.batch_stats["encoder"]["norm"]["var"]
    )


@pytest.mark.parametrize("encoder", ["resnet10", "vit_tiny"])
def test_the_number_of_images_may_be_a_symbol(small, encoder, monkeypatch):
    monkeypatch.setitem(VITS, "vit_tiny", VITS["vit_tiny"]._replace(blocks=1))  # one block, as its twelve are
    subject = small(encoder=encoder)
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), 16, 16, 3), np.uint8)
    features = jax.eval_shape(encoder_function.encode(subject), encoder_function.weights_of(subject), images)
    assert str(features.shape) == f"(b, {subject.num_features})"
