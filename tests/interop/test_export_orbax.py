"""Encoder folders read on other meshes, by this package and by Orbax without it."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from barlow_jax.config import overrides
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.experiment import encoders
from barlow_jax.interop import export_orbax
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.workdir import provenance

ALONE = """
import sys, jax, numpy as np
import orbax.checkpoint as ocp
assert jax.device_count() == 1
tree = getattr(ocp, sys.argv[1])().restore(sys.argv[2])
flat = ocp.tree.to_flat_dict(tree, sep="/")
assert all(type(leaf) is np.ndarray for leaf in flat.values())
np.savez(sys.argv[3], **flat)
assert not [name for name in sys.modules if name.startswith("barlow_jax")]
"""


@pytest.fixture
def trained(small_config, typed):
    """Return trees of distinct noise arrays."""
    config = typed(small_config)
    rng = np.random.default_rng(0)
    shapes = [{"encoder": tree["encoder"]} for tree in Network(config.network).shapes()]
    trees = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    return TrainedEncoder(
        config, *trees, step=7, provenance=[{"starts": 1, "first": "", "last": "", "packages": {}}]
    )


def _restored(folder, trained, devices):
    abstract = jax.eval_shape(lambda: (trained.params, trained.batch_stats))
    return encoders.restore(folder, trained.config, abstract, Layout(make_mesh(devices)))


@pytest.mark.parametrize(("written_on", "read_on"), [(1, 8), (8, 1)])
def test_an_encoder_comes_back_bit_for_bit_on_another_mesh(tmp_path, trained, written_on, read_on):
    layout = Layout(make_mesh(jax.devices()[:written_on]))
    there = jax.device_put((trained.params, trained.batch_stats), layout.replicated)
    said = export_orbax.write(TrainedEncoder(trained.config, *there, step=7), tmp_path)
    number = sum(leaf.size for leaf in jax.tree.leaves(trained.params))
    assert said == {"checkpoint": "checkpoints/7", "parameters": number, "load": export_orbax.LOAD}
    state = _restored(tmp_path, trained, jax.devices()[:read_on])
    assert state.step == 7
    given = trained.params, trained.batch_stats
    assert jax.tree.structure(tuple(state[:2])) == jax.tree.structure(given)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(tuple(state[:2])), given)
    assert len(state.params["encoder"]["conv"]["kernel"].sharding.device_set) == read_on


def test_the_folder_has_config_provenance_and_digests(tmp_path, trained):
    export_orbax.write(trained, tmp_path)
    assert overrides.from_tree(json.loads((tmp_path / "config.json").read_text())) == (trained.config, [])
    first, last = provenance.read(tmp_path)
    assert first == trained.provenance[0] and last["devices"]["count"] == 8
    assert checksums.verify(tmp_path / "checkpoints" / "7") == []
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "provenance.json", "checkpoints"}


def test_an_encoder_without_batchnorm_comes_back(tmp_path, small_config, typed):
    small_config.network.encoder, small_config.network.patch = "vit_tiny", 4
    config = typed(small_config)
    params = {"encoder": Network(config.network).shapes()[0]["encoder"]}
    params = jax.tree.map(lambda x: np.ones(x.shape, np.float32), params)
    trained = TrainedEncoder(config, params, {}, step=-1)
    assert export_orbax.write(trained, tmp_path)["checkpoint"] == "checkpoints/0"
    state = _restored(tmp_path, trained, jax.devices())
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params), params)
    assert jax.tree.leaves(state.batch_stats) == []


@pytest.mark.parametrize("checkpointer", ["StandardCheckpointer", "PyTreeCheckpointer"])
def test_orbax_restores_it_without_this_package(tmp_path, trained, checkpointer):
    export_orbax.write(trained, tmp_path / "encoder")
    arguments = (checkpointer, str(tmp_path / "encoder/checkpoints/7/default"), str(tmp_path / "arrays.npz"))
    environment = {"JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, env=environment, cwd=tmp_path)
    found = np.load(tmp_path / "arrays.npz", allow_pickle=False)
    given = {"params": trained.params, "batch_stats": trained.batch_stats}
    flat = {"/".join(str(key.key) for key in path): leaf for path, leaf in jax.tree.leaves_with_path(given)}
    assert set(found) == set(flat) and "params/encoder/stages/0/0/conv1/kernel" in flat
    for name, leaf in flat.items():
        np.testing.assert_array_equal(found[name], leaf)
