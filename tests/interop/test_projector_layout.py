"""The projector's layout against released checkpoints and the arrays of the network."""

import dataclasses

import jax
import numpy as np
from projector_state_dict import to_torch
import pytest

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.interop.projector_layout import Shape, from_torch
from barlow_jax.networks.network import Network

SMALL = NetworkConfig(encoder="resnet8", width=2, stem="cifar", projector=(6, 5, 4))  # H = 8
KINDS = {
    "barlow_twins": {},
    "vicreg": {"projector_biases": "hidden"},
    "biases everywhere": {"projector_biases": "all"},
    "without BatchNorm": {"projector_batch_norm": False, "projector_biases": "all"},
    "a norm on the embedding": {"projector_output_norm": True},
    "that alone": {"projector_batch_norm": False, "projector_output_norm": True},
    "one layer": {"projector": (4,)},
    "two": {"projector": (6, 4), "projector_biases": "hidden"},
}


def _trees(**changes):
    """Return trees of the network with distinct noise arrays."""
    rng = np.random.default_rng(0)
    shapes = Network(dataclasses.replace(SMALL, **changes)).shapes()
    noise = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    return noise[0]["projector"], noise[1].get("projector", {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_trip_changes_no_bit(kind):
    config = dataclasses.replace(SMALL, **KINDS[kind])
    params, stats = _trees(**KINDS[kind])
    tensors = to_torch(params, stats)
    found = from_torch(tensors)
    assert (found.inputs, found.shape) == (8, Shape(*(getattr(config, key) for key in Shape._fields)))
    assert jax.tree.structure((found.params, found.batch_stats)) == jax.tree.structure((params, stats))
    jax.tree.map(np.testing.assert_array_equal, (found.params, found.batch_stats), (params, stats))
    assert found.ignored == [key for key in tensors if key.endswith("num_batches_tracked")]
    again = to_torch(found.params, found.batch_stats)
    assert list(again) == list(tensors)
    jax.tree.map(np.testing.assert_array_equal, again, tensors)


def _norm(key, width):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{key}.{name}": (width,) for name in names} | {f"{key}.num_batches_tracked": ()}


def test_the_keys_are_those_of_the_official_barlow_twins():
    shapes = {key: tensor.shape for key, tensor in to_torch(*_trees()).items()}
    assert shapes == (
        {"projector.0.weight": (6, 8)}
        | _norm("projector.1", 6)
        | {"projector.3.weight": (5, 6)}
        | _norm("projector.4", 5)
        | {"projector.6.weight": (4, 5)}
    )


def test_the_keys_are_those_of_the_official_vicreg():
    shapes = {key: tensor.shape for key, tensor in to_torch(*_trees(projector_biases="hidden")).items()}
    assert shapes == (
        {"projector.0.weight": (6, 8), "projector.0.bias": (6,)}
        | _norm("projector.1", 6)
        | {"projector.3.weight": (5, 6), "projector.3.bias": (5,)}
        | _norm("projector.4", 5)
        | {"projector.6.weight": (4, 5)}
    )


def test_a_linear_is_transposed_and_nothing_else():
    params, stats = _trees()
    tensors = to_torch(params, stats)
    np.testing.assert_array_equal(tensors["projector.3.weight"], params["layers"][1]["kernel"].T)
    np.testing.assert_array_equal(tensors["projector.4.weight"], params["norms"][1]["scale"])
    np.testing.assert_array_equal(tensors["projector.4.running_var"], stats["norms"][1]["var"])
    assert tensors["projector.3.weight"].flags.c_contiguous


def test_the_prefix_of_distributed_training_is_removed():
    tensors = to_torch(*_trees())
    plain, wrapped = from_torch(tensors), from_torch({f"module.{key}": t for key, t in tensors.items()})
    jax.tree.map(np.testing.assert_array_equal, wrapped.params, plain.params)
    assert wrapped.ignored == [f"module.{key}" for key in plain.ignored]


def test_every_wrong_key_is_named_at_once():
    tensors = to_torch(*_trees())
    del tensors["projector.4.bias"]
    tensors |= {"projector.3.weight": np.ones((5, 7)), "projector.7.gamma": np.ones(4)}
    with pytest.raises(UserError) as error:
        from_torch(tensors)
    assert str(error.value).splitlines() == [
        "not a projector of widths 6, 5, 4 on 8 features:",
        "  projector.7.gamma: unknown",
        "  projector.3.weight: has shape [5, 7], expected [5, 6]",
        "  projector.4.bias: missing",
    ]


def test_another_head_is_an_error_that_lists_its_keys():
    with pytest.raises(UserError, match=r"not a projector.*:\n  projector\.conv\.weight"):
        from_torch({"projector.conv.weight": np.ones((2, 2, 1, 1))})
