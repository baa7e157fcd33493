"""Mesh, layouts, and the choice of the projector's layout."""

import jax
import numpy as np
import optax
import pytest

from barlow_jax.distributed.mesh import Layout, choose_projector, make_mesh
from barlow_jax.types import Batch


def _batch():
    return Batch({"a": np.arange(16 * 3).reshape(16, 3)}, np.arange(16), np.arange(16))


def test_a_batch_is_split_by_rows(devices):
    layout = Layout(make_mesh(devices))
    placed = layout.shard(_batch())
    shards = placed.views["a"].addressable_shards
    assert len(shards) == len(devices) and shards[0].data.shape == (16 // len(devices), 3)
    np.testing.assert_array_equal(placed.views["a"], _batch().views["a"])


def test_all_devices_are_the_default_mesh():
    mesh = make_mesh()
    assert mesh.devices.tolist() == [jax.devices()] and mesh.axis_names == ("slice", "data")


def test_slices_are_groups_of_neighbors():
    first, second = make_mesh(slices=2).devices.tolist()
    assert first == jax.devices()[:4] and second == jax.devices()[4:]


def test_a_sharded_projector_splits_its_weights_and_optimizer_state():
    state = {"params": {"encoder": {"kernel": np.zeros((4, 8))}, "projector": {"kernel": np.zeros((4, 8))}}}
    optimizer = optax.chain(optax.trace(0.9), optax.scale_by_schedule(lambda step: 0.1))
    state["opt_state"] = optimizer.init(state["params"])
    layout = Layout(make_mesh(slices=2), "sharded")
    placed = jax.device_put(state, layout.state_shardings(state))

    def shard(leaf):
        return leaf.addressable_shards[0].data.shape

    trace = placed["opt_state"][0].trace
    for tree in (placed["params"], trace):
        assert shard(tree["projector"]["kernel"]) == (4, 2), "four devices a slice, and a copy on each slice"
        assert shard(tree["encoder"]["kernel"]) == (4, 8)


IMAGENET = (2048, 8192, 8192, 8192)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "devices", "choice"),
    [
        (IMAGENET, 2048, 64, "sharded"),
        (IMAGENET, 4096, 64, "sharded"),
        (IMAGENET, 8192, 256, "sharded"),
        (IMAGENET, 16384, 512, "replicated"),
        (IMAGENET, 2048, 1, "replicated"),
        (IMAGENET, 2048, 48, "replicated"),
        ((64, 16, 16), 128, 8, "replicated"),
    ],
)
def test_the_projector_layout_with_the_lower_cost_is_chosen(sizes, batch_size, devices, choice):
    assert choose_projector(sizes, batch_size, devices, bytes_per_activation=2) == choice


def test_replicated_arrays_are_complete_on_every_device():
    layout = Layout(make_mesh())
    whole = layout.replicate(layout.shard(_batch()).labels)
    assert all(shard.data.shape == (16,) for shard in whole.addressable_shards)


def test_copied_host_arrays_are_complete_on_every_device(devices):
    copied = Layout(make_mesh(devices)).copy({"table": np.arange(7)})["table"]
    assert len(copied.addressable_shards) == len(devices)
    assert all(shard.data.tolist() == list(range(7)) for shard in copied.addressable_shards)
