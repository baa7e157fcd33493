"""Tests of the embedding queue."""

import collections

import jax
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.losses.queue import check_queue_size, push


@pytest.mark.parametrize("size", [8, 24, 64])
def test_the_queue_holds_the_last_batches_newest_first(size, devices):
    """Compares with Python's deque of batches, also for a queue of a single batch."""
    layout, rows = Layout(make_mesh(devices)), 8
    compiled = jax.jit(push, out_shardings=layout.batch)
    expected = collections.deque(np.zeros((size // rows, rows, 3), np.float32), maxlen=size // rows)
    actual = jax.device_put(np.zeros((size, 3), np.float32), layout.batch)
    for number in range(5):
        batch = np.random.default_rng(number).normal(size=(rows, 3)).astype(np.float32)
        expected.appendleft(batch)
        actual = compiled(actual, jax.device_put(batch, layout.batch))
        np.testing.assert_array_equal(actual, np.concatenate(expected))


def test_a_shift_of_a_split_queue_moves_one_batch_between_neighbors():
    layout = Layout(make_mesh())
    parts = [jax.ShapeDtypeStruct(shape, np.float32, sharding=layout.batch) for shape in ((512, 4), (32, 4))]
    text = jax.jit(push, out_shardings=layout.batch).lower(*parts).compile().as_text()
    assert "collective-permute" in text and "f32[32,4]" in text
    assert "all-to-all" not in text and "f32[512,4]" not in text


def test_no_gradient_passes():
    gradient = jax.grad(lambda rows: push(np.ones((4, 2), np.float32), rows).sum())(
        np.ones((2, 2), np.float32)
    )
    assert not np.any(gradient)


@pytest.mark.parametrize(("size", "nearest"), [(100, 96), (120, 128), (30, 32), (1, 32)])
def test_a_size_that_is_not_a_multiple_of_the_batch_is_refused(size, nearest):
    with pytest.raises(UserError, match=rf"the\.key is {size}, .*batch_size \(32\).* {nearest}"):
        check_queue_size("the.key", size, 32)
    check_queue_size("the.key", nearest, 32)
