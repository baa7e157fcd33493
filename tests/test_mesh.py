import jax
import numpy as np

from barlow_jax.mesh import Layout, make_mesh
from barlow_jax.types import Batch


def _batch():
    return Batch({"a": np.arange(16 * 3).reshape(16, 3)}, np.arange(16), np.arange(16))


def test_a_placed_batch_is_split_by_rows(devices):
    layout = Layout(make_mesh(devices))
    placed = layout.place(_batch())
    shards = placed.views["a"].addressable_shards
    assert len(shards) == len(devices) and shards[0].data.shape == (16 // len(devices), 3)
    np.testing.assert_array_equal(placed.views["a"], _batch().views["a"])


def test_all_devices_are_the_default_mesh():
    assert make_mesh().devices.tolist() == jax.devices() and make_mesh().axis_names == ("data",)


def test_replicated_arrays_are_whole_everywhere():
    layout = Layout(make_mesh())
    whole = layout.replicate(layout.place(_batch()).labels)
    assert all(shard.data.shape == (16,) for shard in whole.addressable_shards)
