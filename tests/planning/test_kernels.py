"""Kernels of profiles: a GPU's and a TPU's, written out, and a CPU's real one."""

import jax
import jax.numpy as jnp
import pytest

from barlow_jax.planning import kernels

PLANE = """
planes {{ id: 1 name: "{plane}"
  event_metadata {{ key: 1 value {{ id: 1 name: "gemm" }} }}
  event_metadata {{ key: 2 value {{ id: 2 name: "fusion" }} }}
  lines {{ id: 1 name: "{line}"
    events {{ metadata_id: 1 offset_ps: 0 duration_ps: 6000000 }}
    events {{ metadata_id: 2 offset_ps: 7000000 duration_ps: 1000000 }}
    events {{ metadata_id: 1 offset_ps: 9000000 duration_ps: 4000000 }}
  }}
  lines {{ id: 2 name: "Steps" events {{ metadata_id: 1 duration_ps: 90000000 }} }}
}}
"""


@pytest.mark.parametrize(
    ("plane", "line"), [("/device:GPU:0", "Stream #7(Compute)"), ("/device:TPU:0", "XLA Ops")]
)
def test_kernels_of_the_first_device_are_summed_by_name(plane, line):
    text = PLANE.format(plane=plane, line=line) + PLANE.format(plane=plane.replace("0", "1"), line=line)
    data = jax.profiler.ProfileData.from_serialized_xspace(
        jax.profiler.ProfileData.text_proto_to_serialized_xspace(text)
    )
    result = kernels.summarize(data, steps=2, top=1)
    assert result["launches"] == 1.5 and result["kernel_seconds"] == pytest.approx(5.5e-6)
    (gemm,) = result["kernels"]
    assert gemm["name"] == "gemm" and gemm["launches"] == 1 and gemm["seconds"] == pytest.approx(5e-6)


def test_a_cpu_has_no_kernels():
    double = jax.jit(lambda x: 2 * x)
    assert kernels.profile(lambda: double(jnp.ones(8)).block_until_ready(), 1) is None
