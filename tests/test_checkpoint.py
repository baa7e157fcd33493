from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from barlow_jax.checkpoint import abstract_state, newest_step, open_checkpoints
from barlow_jax.config import Network as NetworkConfig
from barlow_jax.mesh import Layout, make_mesh
from barlow_jax.networks.network import Network
from barlow_jax.step import init_state

NETWORK = Network(NetworkConfig(encoder="resnet8", width=2, stem="cifar", projector=(4, 4)))
INIT = jax.jit(partial(init_state, network=NETWORK, optimizer=optax.trace(0.9)))


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
