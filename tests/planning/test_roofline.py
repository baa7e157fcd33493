"""Costs and roofline times against sums by hand."""

import jax
import jax.numpy as jnp
import pytest

from barlow_jax.planning.hlo import BETWEEN_SLICES, Collective
from barlow_jax.planning.roofline import Cost, DoesNotFit, Roofline, compile_new
from barlow_jax.planning.tpu import Topology

V5E = Topology.parse("v5e:16x16")


def _cost(**kwargs):
    nothing = dict.fromkeys(("argument_bytes", "temporary_bytes", "peak_bytes"), 0)
    return Cost(**nothing | {"flops": 0.0, "matrix_flops": 0.0, "hbm_bytes": 0.0, "collectives": ()} | kwargs)


def _wire(topology, kind, size, group=None):
    one = Collective(kind, 1, size, group or topology.num_chips)
    return Roofline.from_cost(_cost(collectives=(one,)), topology).interconnect


def test_a_second_of_work_at_peak_takes_a_second():
    roofline = Roofline.from_cost(_cost(matrix_flops=197e12, hbm_bytes=2 * 819e9), V5E)
    assert roofline.compute == pytest.approx(1) and roofline.memory == pytest.approx(2)
    assert (roofline.step, roofline.bound) == (
        roofline.memory,
        "memory",
    ) and roofline.serial == pytest.approx(3)


def test_an_all_reduce_uses_the_published_bandwidth_of_a_complete_pod():
    """51.2 TB/s over 256 chips: 200 GB/s per chip, with each byte sent twice."""
    assert _wire(V5E, "all-reduce", 100e9) == pytest.approx(1.0, rel=0.01)


def test_a_line_has_half_the_bandwidth_of_a_ring():
    assert _wire(Topology.parse("v5e:8x8"), "all-gather", 1e9) == pytest.approx(1e9 * 63 / 64 / 100e9)
    assert _wire(Topology.parse("v5p:4x4x4"), "all-gather", 1e9) == pytest.approx(1e9 * 63 / 64 / 600e9)


def test_a_collective_along_one_axis_has_the_links_of_that_axis():
    assert _wire(Topology.parse("v5e:8x8"), "reduce-scatter", 1e9, group=8) == pytest.approx(
        1e9 * 7 / 8 / 50e9
    )


def test_an_exchange_is_bound_by_the_middle_of_the_longest_axis():
    """Half of the data of 256 chips crosses the ring at two cuts of 16 links, in both directions."""
    crossing = 256 * 1e6 / 2 / 2
    assert _wire(V5E, "all-to-all", 1e6) == pytest.approx(crossing / (16 * 2 * 50e9))


def test_transfers_between_slices_use_the_data_center_network():
    two = Topology.parse("v5e:16x16*2")
    assert _wire(two, BETWEEN_SLICES, 1e6, group=2) == pytest.approx(1e6 / 3.125e9)
    assert _wire(two, "all-gather", 1e6, group=256) == _wire(V5E, "all-gather", 1e6)


def test_the_cost_of_a_product_is_its_flops_and_its_bytes():
    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    lowered = jax.jit(lambda a, b: a @ b).lower(square, square)
    cost = Cost.from_compiled(lowered, compile_new(lowered))
    assert cost.flops == pytest.approx(2 * 64**3, rel=0.05)
    assert cost.argument_bytes == 2 * 64 * 64 * 4 and cost.hbm_bytes >= 3 * 64 * 64 * 4
    assert not cost.collectives and cost.by_kind() == {}


def test_what_gpu_libraries_compute_is_counted_in_the_lowered_program():
    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    lowered = jax.jit(lambda a, b: a @ b).lower(square, square)

    class Compiled:  # on two GPUs, without what XLA does not count
        memory_analysis = lowered.compile().memory_analysis
        cost_analysis = staticmethod(lambda: {"flops": 0.0})
        as_text = staticmethod(
            lambda: (
                "HloModule m, num_partitions=2\nENTRY %main (a: f32[64,32]) -> f32[64,32] {\n"
                "  %a = f32[64,32]{1,0} parameter(0)\n  ROOT %b = (f32[64,32]{1,0}, s8[9]{0}) "
                'custom-call(%a, %a), custom_call_target="__cublas$gemm"\n}\n'
            )
        )

    cost = Cost.from_compiled(lowered, Compiled)
    assert cost.flops == 64**3 and cost.matrix_flops == 2 * 64**3, "TF32 has half the peak of bfloat16"
    assert cost.hbm_bytes == 3 * 64 * 32 * 4


def test_gpus_reach_each_other_at_the_full_rate_of_their_link():
    eight = Topology("8 x H100", "H100", (8,), 1, is_local=True)
    assert _wire(eight, "all-reduce", 450e9) == pytest.approx(2 * 7 / 8)
    assert _wire(eight, "all-to-all", 450e9) == pytest.approx(7 / 8)
    assert _wire(eight, "all-reduce", 1e9, group=1) == 0


def test_a_program_that_is_too_large_reports_both_sizes():
    device = Topology.parse("v5e:2x2").devices()[0]
    sharding = jax.sharding.SingleDeviceSharding(device)
    large = jax.ShapeDtypeStruct((65536, 65536), jnp.float32, sharding=sharding)
    with pytest.raises(DoesNotFit, match=r"of the 15\.\d+G") as caught:
        compile_new(jax.jit(lambda a: jnp.sin(a) @ a).lower(large))
    assert 1 < caught.value.ratio < 4


@pytest.mark.parametrize(("used", "available", "ratio"), [("31.5G", "15.75G", 2), ("2.00T", "512.0G", 4)])
def test_the_ratio_is_parsed_from_the_compilers_sizes(used, available, ratio):
    assert DoesNotFit(used, available).ratio == ratio
