from functools import partial
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.checkpoints.restoring import abstract_state, newest_step, open_checkpoints
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.training.step import init_state
from barlow_jax.types import Objective

NETWORK = Network(NetworkConfig(encoder="resnet8", width=2, stem="cifar", projector=(4, 4)))
INIT = jax.jit(partial(init_state, network=NETWORK, objective=Objective(None), optimizer=optax.trace(0.9)))


@pytest.fixture(scope="module")
def state():
    return INIT(jax.random.key(1))


def _at(state, step):
    return state._replace(step=jnp.asarray(step, jnp.int32))


def test_a_state_comes_back_bit_for_bit_on_any_mesh(tmp_path, state, devices):
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


def test_the_newest_and_the_periodic_ones_stay(tmp_path, state):
    with open_checkpoints(tmp_path, keep_newest=2, keep_every_steps=4) as checkpoints:
        for step in range(1, 10):
            checkpoints.save(_at(state, step))
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [4, 8, 9]


def test_looking_at_a_run_that_goes_on_disturbs_nothing(tmp_path, state):
    with open_checkpoints(tmp_path, keep_newest=3) as running:
        for step in (1, 2, 3):
            running.save(_at(state, step))
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()  # a save under way
    before = sorted(tmp_path.rglob("*"))
    with open_checkpoints(tmp_path, read_only=True) as looking:
        assert looking.steps == [1, 2, 3]
        abstract = abstract_state(INIT)
        looking.restore_part(abstract.params, abstract.batch_stats, Layout(make_mesh()), 2)
    assert newest_step(tmp_path) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_looking_for_a_checkpoint_makes_no_folder(tmp_path):
    assert newest_step(tmp_path) is None and not list(tmp_path.iterdir())


def test_saving_a_step_twice_is_harmless(tmp_path, state):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
        checkpoints.save(_at(state, 1))
        assert checkpoints.steps == [1]


@pytest.fixture
def run(tmp_path, state):
    """A workdir with the checkpoints of steps 1, 2 and 3."""
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


def _without_digests_and_with_half_of_each_file(run, step):
    """Of each, as not every one need hold what is read."""
    (run / "checkpoints" / str(step) / checksums.FILE).unlink()
    for path in _data(run, step):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _all_files(run):
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


DAMAGE = [_truncate, _remove, _flip, _without_digests_and_with_half_of_each_file]


def _restore_newest(run):
    with open_checkpoints(run) as checkpoints:
        return checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_named_once_and_set_aside(run, state, capsys, damage):
    damage(run, 3)
    damaged = _all_files(run / "checkpoints" / "3")
    restored, step = _restore_newest(run)
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), jax.device_get(_at(state, 2)))
    said = capsys.readouterr().err
    assert said.count("warning: damaged checkpoints are passed over: step 3: ") == 1
    assert newest_step(run) == 2 and _all_files(run / "damaged" / "3") == damaged


def test_the_step_of_a_damaged_checkpoint_is_saved_when_the_run_comes_to_it_again(run, state):
    for name in ("3", "3-1"):
        _flip(run, 3)
        with open_checkpoints(run) as checkpoints:
            checkpoints.restore_newest(abstract_state(INIT), Layout(make_mesh()))
            checkpoints.save(_at(state, 3))
        assert (run / "damaged" / name).is_dir()
    assert _restore_newest(run)[1] == 3


@pytest.mark.parametrize("damage", DAMAGE)
def test_with_none_good_each_is_named_and_nothing_is_touched(run, damage):
    for step in (1, 2, 3):
        damage(run, step)
    before = _all_files(run)
    with pytest.raises(UserError, match=r"no checkpoint that can be used.* step 3: .* step 2: .* step 1: "):
        _restore_newest(run)
    assert _all_files(run) == before


def test_a_checkpoint_of_before_there_were_digests_is_used_and_that_is_said(run, capsys):
    (run / "checkpoints" / "3" / checksums.FILE).unlink()
    assert _restore_newest(run)[1] == 3
    said = capsys.readouterr().err
    assert said == "the checkpoint of step 3 has no digests: it cannot be verified\n"


def test_reading_a_part_passes_over_the_damaged_and_changes_nothing(run, state, capsys):
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


def test_the_digests_are_made_in_the_background(tmp_path, state, monkeypatch):
    """`save` returns while they wait; until they are there, there is no checkpoint of that name."""
    go_on, write = threading.Event(), checksums.write

    def late(folder, **kwargs):
        assert go_on.wait(30)
        write(folder, **kwargs)

    monkeypatch.setattr(checksums, "write", late)
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_at(state, 1))
        assert not (tmp_path / "checkpoints" / "1").exists()
        go_on.set()
    assert checksums.verify(tmp_path / "checkpoints" / "1") == []
