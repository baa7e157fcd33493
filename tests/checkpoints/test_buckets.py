"""Checkpoints in a bucket: which count as complete, damage, and saves that were killed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.checkpoints.restore import newest_step, open_checkpoints
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.io import checksums, files
from barlow_jax.types import TrainState


def _state(step):
    params = {"encoder": {"w": jnp.arange(6.0) + step}, "projector": {"w": jnp.ones(2)}}
    return TrainState(jnp.int32(step), params, {"encoder": {"mean": jnp.zeros(3)}}, {})


ABSTRACT = jax.eval_shape(lambda: _state(0))


@pytest.fixture
def run(bucket):
    with open_checkpoints(bucket, keep_newest=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(_state(step))
    return bucket


def _restore(run):
    with open_checkpoints(run) as checkpoints:
        state, step = checkpoints.restore_newest(ABSTRACT, Layout(make_mesh()))
    np.testing.assert_array_equal(state.params["encoder"]["w"], _state(step).params["encoder"]["w"])
    return step


def test_the_newest_are_kept_and_reading_them_changes_nothing(run):
    before = sorted(map(str, run.rglob("*")))
    with open_checkpoints(run, read_only=True) as checkpoints:
        assert checkpoints.steps == [2, 3] and newest_step(run) == 3
        assert checkpoints.examine(3, ABSTRACT.nonempty_fields()).problems == ()
    assert sorted(map(str, run.rglob("*"))) == before
    assert _restore(run) == 3


def test_a_damaged_checkpoint_is_skipped_and_moved_and_its_step_saved_again(run, capsys):
    folder = run / "checkpoints" / "3"
    largest = max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    files.write_bytes(largest, bytes(content))
    assert len(checksums.verify(folder)) == 1
    assert _restore(run) == 2
    assert "skipped damaged checkpoints: step 3" in capsys.readouterr().err
    assert (run / "damaged" / "3" / checksums.FILE).exists() and not folder.exists()
    with open_checkpoints(run) as checkpoints:
        checkpoints.save(_state(3))
    assert _restore(run) == 3


def test_a_save_that_was_killed_does_not_count_and_can_be_repeated(run):
    for path in [*(run / "checkpoints" / "3").rglob("*")]:
        if path.is_file() and path.name != "commit_success.txt":
            name = str(path).replace("/checkpoints/3/", "/checkpoints/4/")
            files.write_bytes(type(path)(name), path.read_bytes())
    assert newest_step(run) == 3 and _restore(run) == 3
    with open_checkpoints(run) as checkpoints:
        checkpoints.save(_state(4))
    assert _restore(run) == 4 and newest_step(run) == 4
