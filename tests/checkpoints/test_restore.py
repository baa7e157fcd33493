"""Restoring: bit for bit on any mesh, and from the newest intact checkpoint after every kind of damage."""

from functools import partial
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.checkpoints.restore import abstract_state, newest_step, open_checkpoints
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.training.step import StepParts, init_state
from barlow_jax.types import Objective, TrainState

NETWORK = Network(NetworkConfig(encoder="resnet8", width=2, stem="cifar", projector=(4, 4)))
INIT = jax.jit(
    partial(init_state, parts=StepParts(NETWORK, Objective(None), optax.trace(0.9), normalize=dict))
)


@pytest.fixture(scope="module")
def state():
    return INIT(jax.random.key(1))


def _at(state, step):
    return state._replace(step=jnp.asarray(step, jnp.int32))


def test_a_state_is_restored_bit_for_bit_on_any_mesh(tmp_path, state, devices):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 3))
    layout = Layout(make_mesh(devices))
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(abstract_state(INIT), layout, 3)
    assert jax.tree.structure(restored) == jax.tree.structure(_at(state, 3))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), jax.device_get(_at(state, 3)))
    assert restored.params["encoder"]["conv"]["kernel"].sharding == layout.replicated


def test_the_encoder_is_restored_without_the_optimizer(tmp_path, state):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
    with open_checkpoints(tmp_path) as checkpoints:
        abstract = abstract_state(INIT)
        parts = ({"encoder": tree["encoder"]} for tree in (abstract.params, abstract.batch_stats))
        params, stats = checkpoints.restore_part(*parts, Layout(make_mesh()), 1)
    for restored, whole in ((params, state.params), (stats, state.batch_stats)):
        assert set(restored) == {"encoder"}
        jax.tree.map(np.testing.assert_array_equal, *jax.device_get((restored["encoder"], whole["encoder"])))


def test_an_encoder_without_batch_norm_is_restored_next_to_a_projector_with_it(tmp_path):
    params = {"encoder": {"w": jnp.arange(3.0)}, "projector": {"w": jnp.ones(2)}}
    state = TrainState(jnp.int32(1), params, {"projector": {"mean": jnp.ones(2)}}, {})
    assert state.encoder() == ({"encoder": params["encoder"]}, {})
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_newest_part(*state.encoder(), Layout(make_mesh()))
    np.testing.assert_array_equal(restored[0]["encoder"]["w"], np.arange(3.0))
    assert restored[1:] == ({}, 1)


def test_the_newest_and_the_periodic_checkpoints_are_kept(tmp_path, state):
    with open_checkpoints(tmp_path, keep_newest=2, keep_every_steps=4) as checkpoints:
        for step in range(1, 10):
            checkpoints.save(_at(state, step))
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [4, 8, 9]


def test_reading_the_checkpoints_of_a_running_process_changes_nothing(tmp_path, state):
    with open_checkpoints(tmp_path, keep_newest=3) as running:
        for step in (1, 2, 3):
            running.save(_at(state, step))
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()  # a save under way
    before = sorted(tmp_path.rglob("*"))
    with open_checkpoints(tmp_path, read_only=True) as reader:
        assert reader.steps == [1, 2, 3]
        abstract = abstract_state(INIT)
        reader.restore_part(abstract.params, abstract.batch_stats, Layout(make_mesh()), 2)
    assert newest_step(tmp_path) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_the_newest_step_of_an_empty_workdir_creates_no_folder(tmp_path):
    assert newest_step(tmp_path) is None and not list(tmp_path.iterdir())


def test_saving_a_step_twice_is_harmless(tmp_path, state):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
        checkpoints.save(_at(state, 1))
        assert checkpoints.steps == [1]


@pytest.fixture
def run(tmp_path, state):
    """Workdir with checkpoints of the steps 1, 2 and 3."""
    with open_checkpoints(tmp_path, keep_newest=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(_at(state, step))
    return tmp_path


def _data(run, step):
    return [
        path for path in (run / "checkpoints" / str(step) / "default").rglob("*") if path.parent.name == "d"
    ]


def _largest(run, step):
    return max(_data(run, step), key=lambda path: path.stat().st_size)


def _truncate(run, step):
    path = _largest(run, step)
    path.write_bytes(path.read_bytes()[:-1])


def _remove(run, step):
    _largest(run, step).unlink()


def _flip(run, step):
    path = _largest(run, step)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _remove_checksums_and_halve_each_file(run, step):
    # Each file, because not every file holds arrays that are restored.
    (run / "checkpoints" / str(step) / checksums.FILE).unlink()
    for path in _data(run, step):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _all_files(run):
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


DAMAGE = [_truncate, _remove, _flip, _remove_checksums_and_halve_each_file]


def _restore_newest(run):
    with open_checkpoints(run) as checkpoints:
        return checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_skipped_named_once_and_moved(run, state, capsys, damage):
    damage(run, 3)
    damaged = _all_files(run / "checkpoints" / "3")
    restored, step = _restore_newest(run)
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), jax.device_get(_at(state, 2)))
    logged = capsys.readouterr().err
    assert logged.count("warning: skipped damaged checkpoints: step 3: ") == 1
    assert newest_step(run) == 2 and _all_files(run / "damaged" / "3") == damaged


def test_the_step_of_a_damaged_checkpoint_can_be_saved_again(run, state):
    for name in ("3", "3-1"):
        _flip(run, 3)
        with open_checkpoints(run) as checkpoints:
            checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()))
            checkpoints.save(_at(state, 3))
        assert (run / "damaged" / name).is_dir()
    assert _restore_newest(run)[1] == 3


def test_checkpoints_before_the_last_extension_are_not_resumed_from(run):
    with open_checkpoints(run) as checkpoints:
        assert checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()), oldest=3)[1] == 3
    _truncate(run, 3)
    before = _all_files(run)
    with (
        pytest.raises(UserError, match="no usable checkpoint"),
        open_checkpoints(run) as checkpoints,
    ):
        checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()), oldest=3)
    assert _all_files(run) == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_without_an_intact_checkpoint_each_is_named_and_nothing_is_changed(run, damage):
    for step in (1, 2, 3):
        damage(run, step)
    before = _all_files(run)
    with pytest.raises(UserError, match=r"no usable checkpoint.*step 3: .* step 2: .* step 1: "):
        _restore_newest(run)
    assert _all_files(run) == before


def test_a_checkpoint_without_checksums_is_used_and_reported(run, capsys):
    (run / "checkpoints" / "3" / checksums.FILE).unlink()
    assert _restore_newest(run)[1] == 3
    logged = capsys.readouterr().err
    assert logged == "the checkpoint of step 3 has no checksums and cannot be verified\n"


def test_restoring_a_part_skips_damaged_checkpoints_and_changes_nothing(run, state, capsys):
    _truncate(run, 3)
    before = _all_files(run)
    abstract = abstract_state(INIT)
    parts = ({"encoder": tree["encoder"]} for tree in (abstract.params, abstract.batch_stats))
    with open_checkpoints(run, read_only=True) as checkpoints:
        params, _, step = checkpoints.restore_newest_part(*parts, Layout(make_mesh()))
    assert step == 2 and _all_files(run) == before
    np.testing.assert_array_equal(
        params["encoder"]["conv"]["kernel"], state.params["encoder"]["conv"]["kernel"]
    )
    assert "step 3: default/" in capsys.readouterr().err


def test_checksums_are_computed_in_the_background(tmp_path, state, monkeypatch):
    """`save` returns before the checksums exist; until then the checkpoint has no final name."""
    proceed, write = threading.Event(), checksums.write

    def delayed_write(folder, **kwargs):
        assert proceed.wait(30)
        write(folder, **kwargs)

    monkeypatch.setattr(checksums, "write", delayed_write)
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
        assert not (tmp_path / "checkpoints" / "1").exists()
        proceed.set()
    assert checksums.verify(tmp_path / "checkpoints" / "1") == []
