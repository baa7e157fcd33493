"""Layouts of vision transformers and ConvNeXts: timm's stored keys and features, round trips of all formats.

`timm_features.npz` is what `tests/other_tools/timm_models.py` writes with timm 1.0: keys, shapes and features
of small models with the weights of `_weights`.
"""

import json
import pathlib

from flax import nnx
from flax.traverse_util import unflatten_dict
import jax
import numpy as np
import pytest

from barlow_jax.config.architectures import CONVNEXTS, VITS, ConvNextFacts, VitFacts
from barlow_jax.config.schema import Network
from barlow_jax.errors import UserError
from barlow_jax.interop import layouts
from barlow_jax.networks.encoders import make_encoder

SMALL = VitFacts(32, 2, 2, 4, 16)
SCALED, CLIP = SMALL._replace(layer_scale=True), SMALL._replace(pre_norm=True, epsilon=1e-5)
ROTARY = SCALED._replace(registers=4, positions="rotary", epsilon=1e-5, pool="avg")
CONVNEXT = ConvNextFacts((1, 2, 1, 1), (8, 16, 24, 32))
FACTS = {
    "registers": SCALED._replace(registers=4),
    "swiglu": SCALED._replace(activation="swiglu", hidden=64),
    "clip": CLIP._replace(activation="quick_gelu"),
    "fc_norm": SMALL,
    "rotary": ROTARY._replace(biases="qv"),
    "rotary_swiglu": ROTARY._replace(biases="none", activation="swiglu", hidden=128),
    "convnext": CONVNEXT,
    "convnextv2": CONVNEXT._replace(grn=True),
}
TIMM = np.load(pathlib.Path(__file__).with_name("timm_features.npz"))


@pytest.fixture
def known(monkeypatch):
    """Give an architecture other facts: a function from facts to the name."""

    def add(facts, name=None):
        is_vit = isinstance(facts, VitFacts)
        name = name or ("vit_base_patch8_224" if is_vit else "convnext_base")
        monkeypatch.setitem(VITS if is_vit else CONVNEXTS, name, facts)
        return name

    return add


def _weights(shapes):
    rng, ones = np.random.default_rng(0), ("weight", "gamma", "_1", "_2")
    return {
        key: (rng.normal(size=shape) * 0.3 + (len(shape) == 1 and key.endswith(ones))).astype(np.float32)
        for key, shape in sorted(shapes.items())
    }


def _encode(encoder, images):
    config = Network(dtype="float32", **encoder.network_keys)
    build = lambda: make_encoder(config, nnx.BatchNorm, nnx.Rngs(0), channels=3)  # noqa: E731
    module = nnx.eval_shape(build)
    state = nnx.state(module)
    nnx.replace_by_pure_dict(state, jax.tree.map(jax.numpy.asarray, encoder.params))
    nnx.update(module, state)
    return jax.jit(lambda x: module(x, train=False))(images)


@pytest.mark.parametrize("name", FACTS)
def test_features_of_timms_tensors_are_timms_and_an_export_is_the_file(known, relative, name):
    expected = known(FACTS[name])
    tensors = _weights(json.loads(str(TIMM[f"{name}.keys"])))
    encoder = layouts.read(tensors)
    assert encoder.names == (expected,) and encoder.format == "timm" and not encoder.ignored
    for key in [key for key in TIMM if key.startswith(f"{name}.") and not key.endswith("keys")]:
        size = map(int, key.rpartition(".")[2].split("x"))
        images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
        assert relative(_encode(encoder, images), TIMM[key]) < 1e-4
    written = layouts.write(
        FACTS[name]._replace(**({"pool": "fc_norm"} if name == "fc_norm" else {})), "timm", encoder.params
    )
    assert {key: value.tobytes() for key, value in written.items()} == {
        k: v.tobytes() for k, v in tensors.items()
    }


def _params(facts):
    shapes = layouts._shapes(layouts._short(facts), 3, 0)
    rng, params = np.random.default_rng(0), {}
    counts = facts.blocks if isinstance(facts, ConvNextFacts) else (facts.blocks,)
    for path, shape in shapes.items():
        repeats = [path]
        if path.startswith("blocks.0."):
            repeats = [path.replace("blocks.0.", f"blocks.{b}.") for b in range(counts[0])]
        if path.startswith("stages."):
            stage, rest = int(path.split(".")[1]), path.split(".", 3)[3]
            repeats = [f"stages.{stage}.{block}.{rest}" for block in range(counts[stage])]
        for name in repeats:
            keys = tuple(int(key) if key.isdigit() else key for key in name.split("."))
            params[keys] = rng.normal(size=shape).astype(np.float32)
    return unflatten_dict(params)


EVERY_LAYOUT = [
    (name, format_) for name, facts in FACTS.items() for format_ in layouts.TABLES[layouts.kind(facts)]
]


@pytest.mark.parametrize(("name", "format_"), EVERY_LAYOUT)
def test_a_round_trip_through_every_format_changes_no_bit(known, name, format_):
    facts = FACTS[name]
    expected = known(facts)
    params = _params(facts)
    if name == "registers" and format_ == "timm":
        params["positions"][:, 0] = 0
    tensors = layouts.write(facts, format_, params)
    others = {
        "module.head.weight": np.ones(2, np.float32),
        "module.encoder_k.norm.weight": np.ones(2, np.float32),
    }
    wrapped = {f"module.encoder_q.{key}": value for key, value in tensors.items()} | others
    encoder = layouts.read(wrapped)
    assert encoder.names == (expected,) and set(encoder.ignored) == set(others)
    assert jax.tree.all(jax.tree.map(np.array_equal, encoder.params, params))
    again = layouts.write(facts, format_, encoder.params)
    assert {key: value.tobytes() for key, value in again.items()} == {
        k: v.tobytes() for k, v in tensors.items()
    }


def test_an_export_to_timm_adds_the_position_of_the_class_token_to_it(known):
    params = _params(FACTS["registers"])
    tensors = layouts.write(FACTS["registers"], "timm", params)
    np.testing.assert_array_equal(tensors["cls_token"], params["token"] + params["positions"][:, :1])
    np.testing.assert_array_equal(tensors["pos_embed"], params["positions"][:, 1:])


def test_published_keys_and_shapes():
    """Keys of timm's models of these names; the counts of parameters are timm's, without classifiers."""
    for name, format_, count, some in (
        (
            "vit_small_patch14_reg4_dinov2",
            "timm",
            22_057_344,
            {"pos_embed": (1, 1369, 384), "reg_token": (1, 4, 384)},
        ),
        ("convnextv2_atto", "timm", 3_387_400, {"stages.0.blocks.0.mlp.fc1.weight": (160, 40, 1, 1)}),
        ("convnext_tiny", "torchvision", 27_820_128, {"features.1.0.layer_scale": (96, 1, 1)}),
        ("vit_small_patch16_dinov3_qkvb", "timm", 21_596_160, {"blocks.11.attn.q_bias": (384,)}),
    ):
        facts = (VITS | CONVNEXTS)[name]
        entries = layouts._layout(facts, layouts.TABLES[layouts.kind(facts)][format_], 3, 0)
        shapes = {key: entry.shape for key, entry in entries.items()}
        assert some.items() <= shapes.items() and sum(map(np.prod, shapes.values())) == count


def test_another_grid_is_recorded_and_other_keys_are_errors(known):
    names = known(SMALL), known(SMALL._replace(activation="quick_gelu"), "vit_base_patch16_224")
    tensors = _weights(json.loads(str(TIMM["fc_norm.keys"])))
    tensors["pos_embed"] = np.ones((1, 10, 32), np.float32)
    encoder = layouts.read(tensors)
    assert (encoder.position_grid, encoder.facts.pool, set(encoder.names)) == (3, "fc_norm", set(names))
    assert "encoder" not in encoder.network_keys
    del tensors["norm.bias" if "norm.bias" in tensors else "fc_norm.bias"]
    with pytest.raises(UserError, match=r"fc_norm.bias: missing\n.*surplus: unknown"):
        layouts.read(tensors | {"surplus": np.ones(3)})
    with pytest.raises(UserError, match=r"\[40, 3, 4, 4\]"):
        layouts.read({"patch_embed.proj.weight": np.ones((40, 3, 4, 4))})
