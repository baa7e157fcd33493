"""Memory traffic of modules as the TPU compiler prints them, small enough to count by hand."""

import jax
import jax.numpy as jnp
import pytest

from barlow_jax.planning.hlo import HloModule
from barlow_jax.planning.traffic import hbm_bytes

ARRAY = 8 * 8 * 4  # f32[8,8]


def _bytes(entry, *kernels):
    kernels = "\n".join(kernels)
    text = f"HloModule m\n{kernels}\nENTRY %main (y: f32[8,8]) -> f32[8,8] {{\n{entry}\n}}\n"
    return hbm_bytes(HloModule.parse(text))


Y = "  %y = f32[8,8]{1,0} parameter(0)\n  %i = s32[] parameter(1)\n"
ELEMENTWISE = """
%kernel (u: f32[8,8]) -> f32[8,8] {
  %u = f32[8,8]{1,0} parameter(0)
  %inside = f32[8,8]{1,0} exponential(%u)
  ROOT %v = f32[8,8]{1,0} add(%inside, %u)
}
"""
SLICING = """
%kernel (u: f32[8,8], j: s32[]) -> f32[1,8] {
  %u = f32[8,8]{1,0} parameter(0)
  %j = s32[] parameter(1)
  %b = f32[8,8]{1,0} bitcast(%u)
  %w = f32[1,8]{1,0} dynamic-slice(%b, %j, %j), dynamic_slice_sizes={1,8}
  ROOT %v = f32[1,8]{1,0} negate(%w)
}
"""
UPDATING = """
%kernel (u: f32[8,8], w: f32[1,8], j: s32[]) -> f32[8,8] {
  %u = f32[8,8]{1,0} parameter(0)
  %w = f32[1,8]{1,0} parameter(1)
  %j = s32[] parameter(2)
  ROOT %v = f32[8,8]{1,0} dynamic-update-slice(%u, %w, %j, %j)
}
"""
PASSING_ON = """
%kernel (u: f32[8,8], w: f32[8,8]) -> (f32[8,8], f32[8,8]) {
  %u = f32[8,8]{1,0} parameter(0)
  %w = f32[8,8]{1,0} parameter(1)
  %v = f32[8,8]{1,0} negate(%w)
  ROOT %t = (f32[8,8]{1,0}, f32[8,8]{1,0}) tuple(%u, %v)
}
"""


@pytest.mark.parametrize(
    ("entry", "kernel", "expected"),
    [
        ("%f = f32[8,8]{1,0} fusion(%y), kind=kLoop, calls=%kernel", ELEMENTWISE, 2 * ARRAY),
        ("%f = f32[8,8]{1,0:T(8,128)S(1)} fusion(%y), kind=kLoop, calls=%kernel", ELEMENTWISE, ARRAY),
        ("%f = f32[1,8]{1,0} fusion(%y, %i), kind=kLoop, calls=%kernel", SLICING, 2 * 8 * 4 + 4),
        (
            "%w = f32[1,8]{1,0} bitcast(%y)\n"
            "  %f = f32[8,8]{1,0} fusion(%y, %w, %i), kind=kLoop, calls=%kernel",
            UPDATING,
            2 * 8 * 4 + 4,
        ),
        (
            "%f = (f32[8,8]{1,0}, f32[8,8]{1,0}) fusion(%y, %y), kind=kLoop, calls=%kernel, "
            "output_to_operand_aliasing={{0}: (0, {})}",
            PASSING_ON,
            2 * ARRAY,
        ),
        ("%f = f32[8,8]{1,0} copy(%y)", "", 2 * ARRAY),
        ("%f = (f32[8,8]{1,0:S(1)}, f32[8,8]{1,0}, u32[]{:S(2)}) copy-start(%y)", "", ARRAY),
        ("%f = ((f32[8,8]{1,0}), f32[2,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%y)", "", 2 * 8 * 4),
        ("%f = f32[8,8]{1,0} all-reduce(%y), channel_id=1, replica_groups={{0,1}}", "", 2 * ARRAY),
        ("%f = f32[8,8]{1,0} bitcast(%y)", "", 0),
    ],
)
def test_bytes_of_a_kernel_or_a_copy(entry, kernel, expected):
    assert _bytes(f"{Y}  {entry}", kernel) == expected


def test_the_body_of_a_loop_is_counted_in_each_iteration():
    body = """
%body (t: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %t = (s32[], f32[8,8]{1,0}) parameter(0)
  %x = f32[8,8]{1,0} get-tuple-element(%t), index=1
  %z = f32[8,8]{1,0} negate(%x)
  ROOT %r = (s32[], f32[8,8]{1,0}) tuple(%i, %z)
}
"""
    loop = (
        "%w = (s32[], f32[8,8]{1,0}) while(%y), condition=%end, body=%body, "
        'backend_config={"known_trip_count":{"n":"3"}}'
    )
    assert _bytes(f"{Y}  {loop}", body) == 3 * 2 * ARRAY


def test_a_compiled_sum_moves_its_operands_and_its_result():
    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    text = jax.jit(lambda a, b: a + b).lower(square, square).compile().as_text()
    assert hbm_bytes(HloModule.parse(text)) == 3 * 64 * 64 * 4


def test_a_gpu_kernels_workspace_is_not_counted():
    call = (
        "  %w = (f32[8,8]{1,0}, s8[4096]{0}) custom-call(%y, %y), "
        'custom_call_target="__cublas$gemm"\n  ROOT %z = f32[8,8]{1,0} get-tuple-element(%w), index=0'
    )
    assert _bytes(Y + call) == 3 * ARRAY
