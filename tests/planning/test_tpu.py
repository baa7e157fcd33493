"""TPU topologies, and machines with libtpu but without a TPU."""

import os
import subprocess
import sys

import pytest

from barlow_jax.config.schema import Config
from barlow_jax.distributed.mesh import make_mesh
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.planning import tpu
from barlow_jax.planning.tpu import Topology


@pytest.mark.parametrize(
    ("name", "chips", "slices"), [("v5e:8x8", 64, 1), ("v4:2x2x4", 16, 1), ("v6e:16x16*3", 768, 3)]
)
def test_a_topology_is_parsed(name, chips, slices):
    topology = Topology.parse(name)
    assert (topology.num_chips, topology.slices) == (chips, slices)


@pytest.mark.parametrize(
    "name", ["v5e", "v7:8x8", "v5e:8", "v5e:4x4x4", "v5p:8x8", "v5e:0x8", "v5e:8x8*0", "8x8"]
)
def test_a_malformed_topology_is_named(name):
    with pytest.raises(UserError, match="--topology"):
        Topology.parse(name)


def test_devices_have_the_index_of_their_slice():
    mesh = make_mesh(Topology.parse("v5e:4x4*2").devices())
    assert dict(mesh.shape) == {"slice": 2, "data": 16}
    assert [device.slice_index for device in mesh.devices[:, 0]] == [0, 1]


@pytest.mark.parametrize("name", ["v5e:1x1", "v5e:2x4", "v4:1x1x1", "v4:2x2x2", "v5p:2x2x2", "v6e:4x4"])
def test_each_chip_is_a_device(name):
    topology = Topology.parse(name)
    assert len(topology.devices()) == topology.num_chips
    assert make_mesh(topology.devices()).shape["data"] == topology.num_chips


def test_an_unsupported_topology_is_named():
    with pytest.raises(UserError, match="libtpu does not support"):
        Topology.parse("v5e:3x5").devices()


def test_the_error_without_libtpu_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr(tpu.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[tpu\]'"):
        Topology.parse("v5e:2x2").devices()


def test_commands_with_libtpu_print_no_warnings():
    """Without a TPU, jax by itself would load libtpu, which prints warnings."""
    code = (
        "from barlow_jax.planning import tpu; tpu.hide_libtpu(); import jax; print(jax.devices()[0].platform)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_without_platform()
    )
    assert "libtpu" not in result.stderr and "TPU" not in result.stderr
    assert not tpu.without_tpu() or result.stdout.strip() in ("cpu", "gpu")


def _without_platform():
    return {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}


def test_views_go_through_the_network_together_except_on_cpus():
    for devices, one_pass in ((Topology.parse("v5e:2x2").devices(), True), (None, False)):
        assert Experiment.from_config(Config(), devices).network.one_pass is one_pass
