"""Peak figures by the names that jax reports."""

import pytest

from barlow_jax.errors import UserError
from barlow_jax.planning import chips
from barlow_jax.planning.tpu import Topology


@pytest.mark.parametrize(
    ("kind", "teraflops"),
    [
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA L4", 121),
        ("TPU v4", 275),
        ("TPU v5 lite", 197),
        ("TPU v5p", 459),
        ("TPU v5", 459),
        ("TPU v6 lite", 918),
    ],
)
def test_peaks_are_found_by_the_kind_of_device(kind, teraflops):
    assert chips.CHIPS[chips.chip_name(kind)].flops == teraflops * 1e12


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA L40S", "NVIDIA H100 PCIe", "NVIDIA H200 NVL", "TPU v7"])
def test_other_devices_have_no_peak(kind):
    assert chips.chip_name(kind) is None


def test_this_machine_is_a_topology_if_its_peaks_are_known(monkeypatch):
    with pytest.raises(UserError, match="8 x cpu"):
        Topology.local()
    monkeypatch.setitem(chips._KINDS, "cpu", "H100")
    topology = Topology.local()
    assert (topology.num_chips, topology.chip.flops, len(topology.devices())) == (8, 989e12, 8)
