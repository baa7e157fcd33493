"""Tests of the network: heads, grouping of views, branches and running statistics."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.networks.network import Network, StandInEncoder
from barlow_jax.types import Grouping


def _network(**kwargs):
    return Network(NetworkConfig(encoder="resnet8", width=4, stem="cifar", projector=(16, 8), **kwargs))


def _init(network, seed=0):
    return jax.jit(network.init)(jax.random.key(seed))


def _images(seed=0):
    return np.random.default_rng(seed).normal(size=(8, 8, 8, 3)).astype(np.float32)


def test_parameters_depend_only_on_the_key():
    params, same_key, other_key = (_init(_network(), k)[0] for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, params, same_key)
    assert np.any(params["projector"]["layers"][0]["kernel"] != other_key["projector"]["layers"][0]["kernel"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_statistics_and_representation_are_float32(dtype):
    network = _network(dtype=dtype)
    params, stats = _init(network)
    outputs, new_stats = jax.jit(network.apply)(params, stats, {"a": _images()})
    assert {leaf.dtype for leaf in jax.tree.leaves((params, stats, new_stats))} == {jnp.dtype("float32")}
    assert outputs["a"].representation.dtype == jnp.float32 and outputs["a"].embedding.dtype == dtype


def test_the_first_layer_takes_the_channels_of_the_images():
    params, _ = dataclasses.replace(_network(), channels=13).shapes()
    assert params["encoder"]["conv"]["kernel"].shape == (3, 3, 13, 4)


def test_training_moves_the_running_statistics_by_one_minus_the_momentum():
    network = _network(dtype="float32", batch_norm_momentum=0.7)
    params, stats = _init(network)
    _, new_stats = jax.jit(network.apply)(params, stats, {"a": _images()})
    kernel = params["encoder"]["conv"]["kernel"]
    hidden = jax.lax.conv_general_dilated(
        _images(), kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean, variance = np.mean(hidden, (0, 1, 2)), np.var(hidden, (0, 1, 2))
    norm = new_stats["encoder"]["norm"]
    np.testing.assert_allclose(norm["mean"], 0.3 * mean, rtol=1e-4, atol=1e-6)
    # flax's running variance is biased; torch's is larger by a factor n / (n - 1).
    np.testing.assert_allclose(norm["var"], 0.7 + 0.3 * variance, rtol=1e-4)


def test_the_frozen_encoder_treats_images_independently():
    network = _network(dtype="float32")
    params, stats = _init(network)
    together = jax.jit(network.encode)(params, stats, _images())
    alone = jax.jit(network.encode)(params, stats, _images()[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)


def test_heads_are_those_that_the_config_names():
    network = _network(predictor=(12, 8), num_classes=5, prototypes=7)
    params, stats = _init(network)
    assert set(params) == {"encoder", "projector", "predictor", "prototypes", "classifier"}
    (outputs,) = jax.jit(network.apply)(params, stats, {"a": _images()})[0].values()
    assert outputs.prediction.shape == outputs.embedding.shape == (8, 8) and outputs.logits.shape == (8, 5)
    assert outputs.scores.shape == (8, 7) and network.prototypes(params).shape == (8, 7)
    assert set(network.target_network.select(params)) == {"encoder", "projector"}
    bare, _ = _init(Network(NetworkConfig(encoder="resnet8", width=4, projector=())))
    assert set(bare) == {"encoder"}


def test_scores_are_cosines_for_prototypes_of_unit_length():
    network = _network(prototypes=7, dtype="float32")
    params, stats = _init(network)
    vectors = params["prototypes"]["vectors"]
    params["prototypes"]["vectors"] = vectors / np.linalg.norm(vectors, axis=0, keepdims=True)
    (outputs,) = jax.jit(network.apply)(params, stats, {"a": _images()})[0].values()
    z = outputs.embedding / np.linalg.norm(outputs.embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs.scores, z @ params["prototypes"]["vectors"], rtol=1e-5, atol=1e-6)


GROUPINGS = {
    "each view alone": (Grouping(), [["a"], ["b"], ["c"]], [["a"], ["b"], ["c"]]),
    "by size, heads together": (Grouping("size", "together"), [["a", "b"], ["c"]], [["a", "b", "c"]]),
    "heads together": (Grouping("view", "together"), [["a"], ["b"], ["c"]], [["a", "b", "c"]]),
    "by size": (Grouping("size", "view"), [["a", "b"], ["c"]], [["a"], ["b"], ["c"]]),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("heads together", "by size") else ())
        for name in GROUPINGS  # of the two settings, each value occurs in those that are not slow
    ],
)
def test_batch_norm_sees_the_rows_of_its_group_and_no_others(name):
    """A group equals a batch that concatenates its views."""
    grouping, encoder, heads = GROUPINGS[name]
    network, projector = _network(dtype="float32"), _network(dtype="float32")
    params, stats = _init(network)
    views = {name: _images(seed) for seed, name in enumerate("ab")} | {"c": _images(2)[:, :4, :4]}
    outputs, _ = jax.jit(network.apply, static_argnums=3)(params, stats, views, grouping)
    for names in encoder:
        rows = jnp.concatenate([views[name] for name in names])
        (whole,) = jax.jit(network.apply)(params, stats, {"x": rows})[0].values()
        actual = jnp.concatenate([outputs[name].representation for name in names])
        np.testing.assert_allclose(actual, whole.representation, rtol=1e-4, atol=1e-5)
    head = Network(projector.config, make_encoder=StandInEncoder)
    factors = {"encoder": {"factors": jnp.ones(outputs["a"].representation.shape[1])}}
    bare = {"projector": stats["projector"]}
    for names in heads:
        rows = jnp.concatenate([outputs[name].representation for name in names])
        (whole,) = jax.jit(head.apply)(params | factors, bare, {"x": rows})[0].values()
        actual = jnp.concatenate([outputs[name].embedding for name in names])
        np.testing.assert_allclose(actual, whole.embedding, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("biases", "has_bias"), [("none", [0, 0, 0]), ("hidden", [1, 1, 0]), ("all", [1, 1, 1])]
)
def test_linears_have_the_biases_that_the_config_names(biases, has_bias):
    config = NetworkConfig(
        encoder="resnet8", width=4, stem="cifar", projector=(6, 6, 4), projector_biases=biases
    )
    params, _ = _init(Network(config))
    layers = params["projector"]["layers"]
    assert [int("bias" in layers[i]) for i in range(3)] == has_bias
    for i in (i for i in range(3) if has_bias[i]):
        bound = layers[i]["kernel"].shape[0] ** -0.5
        assert 0 < np.max(np.abs(layers[i]["bias"])) <= bound, "torch's distribution"


def test_the_second_branch_is_a_separate_network_for_view_b():
    network = _network(dtype="float32", branches="own", second_encoder="resnet10")
    params, stats = _init(network)
    assert set(params) == {"encoder", "projector", "second"} and set(params["second"]) == {
        "encoder",
        "projector",
    }
    views = {name: _images(seed) for seed, name in enumerate("ab")}
    outputs, new_stats = jax.jit(network.apply)(params, stats, views)
    for name, encoder in (("a", "resnet8"), ("b", "resnet10")):
        alone = Network(
            NetworkConfig(encoder=encoder, width=4, stem="cifar", projector=(16, 8), dtype="float32")
        )
        part, part_stats, part_new = (
            tree if name == "a" else tree["second"] for tree in (params, stats, new_stats)
        )
        part, part_stats = ({n: tree[n] for n in ("encoder", "projector")} for tree in (part, part_stats))
        expected, expected_stats = jax.jit(alone.apply)(part, part_stats, {name: views[name]})
        np.testing.assert_allclose(outputs[name].embedding, expected[name].embedding, rtol=1e-5, atol=1e-6)
        for key in expected_stats:
            jax.tree.map(
                partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), part_new[key], expected_stats[key]
            )
    (only,) = jax.jit(network.apply)(params, stats, {"b": views["b"]})[0]
    assert only == "b"


def test_features_of_large_mean_and_small_std_are_normalized_without_cancellation():
    """In float32, E[x^2] - E[x]^2 of a mean of 1e4 and a std of 1 is off by 6."""
    features = np.random.default_rng(0).normal(1e4, 1.0, (256, 16)).astype(np.float32)
    params, _, stats, _ = _apply_head(features)
    hidden = features.astype(np.float64) @ params["layers"][0]["kernel"]
    np.testing.assert_allclose(stats["norms"][0]["var"], 0.9 + 0.1 * np.var(hidden, axis=0), rtol=1e-2)


def _apply_head(features, **settings):
    """Return the projector's parameters, statistics before and after, and the embedding of `[B, 16]`."""
    config = NetworkConfig(encoder="resnet8", width=4, projector=(6, 4), dtype="float32", **settings)
    head = Network(config, make_encoder=StandInEncoder)
    params, stats = _init(head)
    outputs, new_stats = jax.jit(head.apply)(params, stats, {"a": features})
    return *(tree.get("projector") for tree in (params, stats, new_stats)), outputs["a"].embedding


@pytest.mark.parametrize("batch_norm", [False, True])
def test_settings_of_batch_norm_are_those_of_the_config(batch_norm):
    features = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)
    params, _, stats, embedding = _apply_head(
        features, projector_batch_norm=batch_norm, batch_norm_momentum=0.6, batch_norm_epsilon=0.5
    )
    first, second = (np.asarray(params["layers"][i]["kernel"]) for i in range(2))
    hidden = features @ first
    if batch_norm:
        np.testing.assert_allclose(stats["norms"][0]["var"], 0.6 + 0.4 * hidden.var(0), rtol=1e-4)
        hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 0.5)
    np.testing.assert_allclose(embedding, np.maximum(hidden, 0) @ second, rtol=1e-3, atol=1e-4)


def test_the_embedding_may_be_normalized_without_scale_and_shift():
    network = _network(dtype="float32", projector_output_norm=True)
    params, stats = _init(network)
    assert "output_norm" not in params["projector"] and "output_norm" in stats["projector"]
    (outputs,) = jax.jit(network.apply)(params, stats, {"a": _images()})[0].values()
    np.testing.assert_allclose(np.mean(outputs.embedding, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(outputs.embedding, 0), 1, rtol=2e-2)
