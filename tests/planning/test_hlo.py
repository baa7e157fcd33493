"""HLO parser, on text as XLA prints it and on compiled programs whose collectives are known."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
import pytest

from barlow_jax.distributed.mesh import make_mesh
from barlow_jax.planning.hlo import BETWEEN_SLICES, HloModule

TEXT = """\
HloModule jit_step, is_scheduled=true

%region_0.0 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%piece.1 (p: bf16[8,4]) -> bf16[8,64] {
  %p = bf16[8,4]{1,0} parameter(0)
  ROOT %all-gather.1 = bf16[8,64]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), channel_id=4, replica_groups=mesh['axis_0'=1,'axis_1'=16] {'axis_1'}, dimensions={1}, frontend_attributes={chain_id="0"}
}

%body.1 (t: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %t = (s32[], f32[8,8]{1,0}) parameter(0)
  %x = f32[8,8]{1,0} get-tuple-element(%t), index=1
  %convolution.1 = f32[8,8]{1,0} convolution(%x, %x), dim_labels=bf_io->bf, operand_precision={highest,highest}
  %collective-permute-start = (f32[8,8]{1,0}, f32[8,8]{1,0}, u32[], u32[]) collective-permute-start(%x), channel_id=9, source_target_pairs={{0,1},{1,0}}
  %collective-permute-done = f32[8,8]{1,0} collective-permute-done(%collective-permute-start)
  ROOT %r = (s32[], f32[8,8]{1,0}) tuple(%x)
}

%condition.1 (t: (s32[], f32[8,8])) -> pred[] {
  %t.1 = (s32[], f32[8,8]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t.1), index=0
  %end = s32[]{:T(128)} constant(5)
  ROOT %c = pred[]{:T(512)} compare(%i, %end), direction=LT
}

ENTRY %main (q: bf16[8,4], y: f32[8,8]) -> f32[8,8] {
  %q = bf16[8,4]{1,0} parameter(0)
  %y = f32[8,8]{1,0} parameter(1)
  %all-gather.0 = bf16[8,64]{1,0} all-gather(%q), channel_id=4, replica_groups=mesh['axis_0'=1,'axis_1'=16] {'axis_1'}, dimensions={1}, frontend_attributes={chain_id="0"}
  %fusion.1 = bf16[8,64]{1,0} fusion(%q), kind=kCustom, calls=%piece.1
  %dot.1 = f32[8,8]{1,0} dot(%y, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %while.1 = (s32[], f32[8,8]{1,0}) while(%dot.1), condition=%condition.1, body=%body.1
  %all-reduce.1 = (f32[8,8]{1,0}, f32[]) all-reduce(%y, %y), channel_id=5, replica_groups=[4,16]<=[64], to_apply=%region_0.0
  ROOT %reduce-scatter.1 = f32[1,8]{1,0} reduce-scatter(%y), channel_id=6, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, to_apply=%region_0.0
}
"""  # noqa: E501


def test_collectives_have_their_bytes_groups_and_runs():
    collectives = {
        (c.kind, c.count, c.bytes, c.wire_bytes, c.group) for c in HloModule.parse(TEXT).collectives()
    }
    assert collectives == {
        ("all-gather", 1, 8 * 64 * 2, 8 * 64 * 2, 16),  # one chain of two pieces
        ("all-reduce", 1, 8 * 8 * 4 + 4, 2 * (8 * 8 * 4 + 4), 16),
        ("reduce-scatter", 1, 8 * 8 * 4, 8 * 8 * 4, 8),
        ("collective-permute", 5, 5 * 8 * 8 * 4, 5 * 8 * 8 * 4, 2),
    }


def test_a_transfer_between_slices_is_counted_once():
    send = (
        "  %send = (f32[1,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%y, %after-all), channel_id=4, "
        "is_host_transfer=true, "
        'frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime"}\n'
        "  %send-done = token[] send-done(%send), channel_id=4, is_host_transfer=true\n"
    )
    text = TEXT.replace("  ROOT %reduce-scatter.1", send + "  ROOT %reduce-scatter.1")
    (collective,) = (c for c in HloModule.parse(text).collectives() if c.kind == BETWEEN_SLICES)
    assert (collective.count, collective.bytes) == (1, 8 * 128 * 4)


def test_products_count_their_passes_and_the_runs_of_their_loop():
    module, product = HloModule.parse(TEXT), 2 * 8**3
    assert module.extra_passes() == 5 * 5 * product, "five runs with five passes more than one each"
    assert module.loop_factor() == (1 + 5) / 2


def test_the_products_of_a_lowered_program_are_counted_on_all_devices_and_in_every_run_of_a_loop():
    def function(x, kernel, y):
        image = jax.lax.conv(x, kernel, (1, 1), "VALID")
        return image, jax.lax.fori_loop(0, 7, lambda _, z: z @ y, y)

    shapes = (2, 3, 6, 6), (4, 3, 3, 3), (8, 8)
    lowered = jax.jit(function).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    module = HloModule.parse(lowered.as_text("hlo"))
    convolution, product = 2 * (2 * 4 * 4 * 4) * (3 * 3 * 3), 2 * 8**3
    assert module.product_flops({}) == convolution + 7 * product
    assert module.product_flops({"default": 2.0}) == 2 * (convolution + 7 * product)


def test_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        HloModule.parse("define i32 @main()")


def _compile(function, *shapes, out):
    mesh = make_mesh()
    rows = NamedSharding(mesh, P(("slice", "data")))
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    jitted = jax.jit(function, in_shardings=rows, out_shardings=NamedSharding(mesh, out))
    return HloModule.parse(jitted.lower(*arrays).compile().as_text())


def test_a_product_over_sharded_rows_is_one_all_reduce():
    (collective,) = _compile(lambda a, b: a.T @ b, (16, 4), (16, 6), out=P()).collectives()
    assert (collective.kind, collective.count, collective.bytes, collective.group) == (
        "all-reduce",
        1,
        4 * 6 * 4,
        8,
    )


def test_a_gather_inside_a_scan_is_counted_in_each_iteration():
    def function(a):
        def body(total, _):
            gathered = jax.lax.with_sharding_constraint(jnp.sin(total), NamedSharding(make_mesh(), P()))
            return total + gathered.sum(0, keepdims=True), None

        return jax.lax.scan(body, a, length=7)[0]

    program = _compile(function, (16, 4), out=P(("slice", "data")))
    assert sum(c.count for c in program.collectives()) == 7


def test_a_loop_of_products_is_counted_by_its_iterations():
    def power(a, exponent):
        return jax.lax.scan(lambda x, _: (x @ a, None), a, length=exponent)[0]

    compiled = jax.jit(partial(power, exponent=6)).lower(jax.ShapeDtypeStruct((4, 4), jnp.float32)).compile()
    assert HloModule.parse(compiled.as_text()).loop_factor() == 6


def test_a_batched_product_written_as_a_convolution_is_not_overcounted():
    """256 products of [512 x 3, 512] and [512, 224], as the TPU compiler writes them."""
    line = (
        "  ROOT %c = f32[256,224,512,3]{2,1,3,0:T(8,128)} convolution(%w, %x), "
        "window={size=256x3 stride=255x1 pad=0_0x2_2 lhs_dilate=256x1 rhs_reversal=0x1}, "
        "dim_labels=0bf1_0oi1->0bf1, operand_precision={highest,highest}"
    )
    text = "\n".join(
        [
            "ENTRY %main (w: f32[256,224,512,1], x: f32[256,512,512,3]) -> f32[256,224,512,3] {",
            "  %w = f32[256,224,512,1]{2,1,3,0} parameter(0)",
            "  %x = f32[256,512,512,3]{2,1,3,0} parameter(1)",
            line,
            "}",
        ]
    )
    (product,) = HloModule.parse(text)._products()
    assert product == ("highest", 2.0 * 256 * 512 * 3 * 512 * 224)
