import jax
import numpy as np
import pytest

from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.training import device_cache
from barlow_jax.training.device_cache import DeviceDataset, Rows
from barlow_jax.types import Batch

SAMPLER = EpochSampler(seed=2, num_examples=40, batch_size=16)
UNDECODABLE = (4, 17, 31)


def _decoded(undecodable=()):
    rng = np.random.default_rng(0)
    views = {
        "canvas": rng.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8),
        "shape": rng.integers(1, 7, (40, 2)).astype(np.int32),
    }
    index = np.where(np.isin(np.arange(40), undecodable), -1, np.arange(40))
    return Batch(views, rng.integers(0, 10, 40).astype(np.int32), index.astype(np.int32))


def _rows(dataset, log_failure=None, shard=None, first_step=0, num_steps=5):
    sample_range = SampleRange(SAMPLER, first_step, num_steps, shard or ProcessShard())
    return list(dataset.rows(sample_range, log_failure or (lambda index, step: None)))


def test_a_batch_is_the_one_that_the_host_would_have_placed(devices):
    layout, decoded = Layout(make_mesh(devices)), _decoded()
    dataset = DeviceDataset(decoded, layout)
    for step, rows in enumerate(_rows(dataset)):
        batch = dataset.take(rows)
        index, position = SAMPLER.batch(step)
        host = jax.tree.map(lambda examples, index=index: examples[index], decoded)
        placed = layout.shard(host._replace(views={**host.views, "position": position.astype(np.uint32)}))
        jax.tree.map(np.testing.assert_array_equal, batch, placed)
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(placed), strict=True):
            assert a.dtype == b.dtype and a.sharding.is_equivalent_to(b.sharding, a.ndim)


def test_devices_look_up_their_rows_without_a_collective():
    layout = Layout(make_mesh())
    dataset = DeviceDataset(_decoded(), layout)
    rows = layout.shard(Rows(np.arange(16, dtype=np.int32), np.arange(16, dtype=np.uint32)))
    compiled = dataset._gather.lower(dataset._examples, rows).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled


def test_the_rows_of_two_processes_make_up_the_batch():
    dataset = DeviceDataset(_decoded(UNDECODABLE), Layout(make_mesh()))
    halves = [_rows(dataset, shard=ProcessShard(process, 2)) for process in range(2)]
    for whole, *parts in zip(_rows(dataset), *halves, strict=True):
        jax.tree.map(
            lambda rows, *halves: np.testing.assert_array_equal(np.concatenate(halves), rows), whole, *parts
        )
    jax.tree.map(np.testing.assert_array_equal, _rows(dataset, first_step=3)[0], _rows(dataset)[3])


def test_an_image_that_cannot_be_decoded_is_logged_in_its_step_and_replaced():
    logged = []
    dataset = DeviceDataset(_decoded(UNDECODABLE), Layout(make_mesh()))
    batches = _rows(dataset, lambda index, step: logged.append((index, step)))
    expected = []
    for step, (index, _) in enumerate(batches):
        whole, position = SAMPLER.batch(step)
        failed = np.isin(whole, UNDECODABLE)
        expected += [(image, step) for image in whole[failed].tolist()]
        np.testing.assert_array_equal(index[~failed], whole[~failed])
        for row in np.flatnonzero(failed):
            draws = SampleRange(SAMPLER, 0, 5).replacements(int(position[row]))
            assert index[row] == next(draw for draw in draws if draw not in UNDECODABLE)
    assert logged == expected and len(logged) >= 4


def test_without_any_decodable_image_there_is_no_replacement():
    dataset = DeviceDataset(_decoded(range(40)), Layout(make_mesh()))
    with pytest.raises(UserError, match="None of 100 images"):
        _rows(dataset)


def test_a_split_that_exceeds_the_memory_is_refused_with_the_remedy(monkeypatch):
    device_cache.check_size(50_000, 32)
    with pytest.raises(UserError, match=r"need 1007\.6 GB, and a device has .* Set config.data.canvas to"):
        device_cache.check_size(1_281_167, 512)

    class Small:
        def memory_stats(self):
            return {"bytes_limit": 100e6}

    monkeypatch.setattr(jax, "local_devices", lambda: [Small()])
    with pytest.raises(UserError, match=r"need 0\.2 GB, and a device has 0\.1 GB"):
        device_cache.check_size(50_000, 32)
    with pytest.raises(UserError, match=r"need 2\.7 GB"):
        device_cache.check_size(50_000, 32, bytes_per_pixel=13 * 4)
