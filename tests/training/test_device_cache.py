import jax
import numpy as np
import pytest

from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.training import device_cache
from barlow_jax.training.device_cache import DeviceDataset, Rows
from barlow_jax.types import Batch

ORDER = EpochSampler(seed=2, num_examples=40, batch_size=16)
BROKEN = (4, 17, 31)


def _decoded(decode_failures=()):
    rng = np.random.default_rng(0)
    views = {
        "canvas": rng.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8),
        "shape": rng.integers(1, 7, (40, 2)).astype(np.int32),
    }
    index = np.where(np.isin(np.arange(40), BROKEN), -1, np.arange(40))
    return Batch(views, rng.integers(0, 10, 40).astype(np.int32), index.astype(np.int32))


def _rows(there, met=None, shard=None, first_step=0, num_steps=5):
    sample_range = SampleRange(ORDER, first_step, num_steps, shard or ProcessShard())
    return list(there.rows(sample_range, met or (lambda index, step: None)))


def test_a_batch_is_the_one_that_the_host_would_have_placed(devices):
    layout, decoded = Layout(make_mesh(devices)), _decoded()
    there = DeviceDataset(decoded, layout)
    for step, rows in enumerate(_rows(there)):
        batch = there.take(rows)
        index, position = ORDER.batch(step)
        host = jax.tree.map(lambda examples, index=index: examples[index], decoded)
        placed = layout.shard(host._replace(views={**host.views, "position": position.astype(np.uint32)}))
        jax.tree.map(np.testing.assert_array_equal, batch, placed)
        for one, other in zip(jax.tree.leaves(batch), jax.tree.leaves(placed), strict=True):
            assert one.dtype == other.dtype and one.sharding.is_equivalent_to(other.sharding, one.ndim)


def test_devices_look_up_their_rows_without_a_word_to_each_other():
    layout = Layout(make_mesh())
    there = DeviceDataset(_decoded(), layout)
    rows = layout.shard(Rows(np.arange(16, dtype=np.int32), np.arange(16, dtype=np.uint32)))
    compiled = there._gather.lower(there._table, rows).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled


def test_the_parts_of_two_processes_are_the_batch():
    there = DeviceDataset(_decoded(BROKEN), Layout(make_mesh()))
    halves = [_rows(there, shard=ProcessShard(process, 2)) for process in range(2)]
    for whole, *parts in zip(_rows(there), *halves, strict=True):
        jax.tree.map(
            lambda rows, *halves: np.testing.assert_array_equal(np.concatenate(halves), rows), whole, *parts
        )
    jax.tree.map(np.testing.assert_array_equal, _rows(there, first_step=3)[0], _rows(there)[3])


def test_a_broken_image_is_met_in_its_step_and_replaced_by_the_first_readable_draw():
    met = []
    there = DeviceDataset(_decoded(BROKEN), Layout(make_mesh()))
    batches = _rows(there, lambda index, step: met.append((index, step)))
    expected = []
    for step, (index, _) in enumerate(batches):
        whole, position = ORDER.batch(step)
        gone = np.isin(whole, BROKEN)
        expected += [(image, step) for image in whole[gone].tolist()]
        np.testing.assert_array_equal(index[~gone], whole[~gone])
        for row in np.flatnonzero(gone):
            draws = SampleRange(ORDER, 0, 5).replacements(int(position[row]))
            assert index[row] == next(draw for draw in draws if draw not in BROKEN)
    assert met == expected and len(met) >= 4


def test_where_all_are_broken_nothing_stands_in():
    there = DeviceDataset(_decoded(range(40)), Layout(make_mesh()))
    with pytest.raises(UserError, match="of 100 images drawn from the split none can be decoded"):
        _rows(there)


def test_what_does_not_fit_is_refused_with_the_remedy(monkeypatch):
    device_cache.refuse_too_large(50_000, 32)
    with pytest.raises(UserError, match=r"are 1007\.6 GB, and a device has .* set config.data.canvas to"):
        device_cache.refuse_too_large(1_281_167, 512)

    class Small:
        def memory_stats(self):
            return {"bytes_limit": 100e6}

    monkeypatch.setattr(jax, "local_devices", lambda: [Small()])
    with pytest.raises(UserError, match=r"are 0\.2 GB, and a device has 0\.1 GB"):
        device_cache.refuse_too_large(50_000, 32)
