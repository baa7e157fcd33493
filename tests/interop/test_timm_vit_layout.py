"""Layout against timm's published keys and shapes; tests/other_tools compares the features."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from barlow_jax.config.architectures import VITS
from barlow_jax.config.schema import Config, Data, Network
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.interop.export_timm import timm_model
from barlow_jax.networks.vit import Block, Vit, positions

# vit_tiny_patch16_224 of timm without its head: 5 717 416 parameters less 192 * 1000 + 1000.
TINY_PARAMETERS = 5_717_416 - 193_000


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    model = nnx.eval_shape(lambda: Vit(VITS["vit_tiny"], rngs=nnx.Rngs(0)))
    shapes = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree.map(lambda x: rng.normal(0, 0.05, x.shape).astype(np.float32), shapes)


def to_timm(params, grid):
    """Return timm's state dict of a vit_tiny for images of `grid` patches a side."""
    config = Config(data=Data(image_size=16 * grid), network=Network(encoder="vit_tiny"))
    return timm_model(TrainedEncoder(config, {"encoder": params}, {}, step=0)).tensors


def test_the_keys_and_shapes_are_timms(params):
    tensors = to_timm(params, 14)
    shapes = {key: value.shape for key, value in tensors.items()}
    assert sum(value.size for value in tensors.values()) == TINY_PARAMETERS
    published = {
        "cls_token": (1, 1, 192),
        "pos_embed": (1, 197, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "patch_embed.proj.bias": (192,),
        "blocks.0.norm1.weight": (192,),
        "blocks.11.attn.qkv.weight": (576, 192),
        "blocks.11.attn.qkv.bias": (576,),
        "blocks.3.attn.proj.weight": (192, 192),
        "blocks.3.mlp.fc1.weight": (768, 192),
        "blocks.3.mlp.fc2.weight": (192, 768),
        "blocks.3.mlp.fc2.bias": (192,),
        "norm.bias": (192,),
    }
    assert published.items() <= shapes.items() and len(tensors) == 4 + 12 * 12 + 2
    assert all(value.dtype == np.float32 and value.flags.c_contiguous for value in tensors.values())


def test_the_positions_are_ours_row_by_row_and_none_of_the_class_token(params):
    table = to_timm(params, 3)["pos_embed"][0]
    assert not table[0].any()
    np.testing.assert_array_equal(table[1 + 3 * 2 + 1], positions(3, 3, 192)[2, 1].astype(np.float32))


def test_a_block_by_its_definition_in_torchs_layout_is_our_block(params, relative):
    """Compute a block in NumPy as timm documents it: qkv = x W' + b, split in three, then into heads."""
    tensors = {k.removeprefix("blocks.0."): v.astype(np.float64) for k, v in to_timm(params, 2).items()}
    x = np.random.default_rng(1).normal(size=(2, 5, 192))

    def norm(x, name):
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def dense(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    qkv = dense(norm(x, "norm1"), "attn.qkv").reshape(2, 5, 3, 3, 64)  # batch, token, which, head, channel
    q, k, v = np.moveaxis(qkv, (2, 3), (0, 2))
    scores = q @ np.swapaxes(k, -1, -2) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ v
    x1 = x + dense(np.swapaxes(mixed, 1, 2).reshape(2, 5, 192), "attn.proj")
    hidden = dense(norm(x1, "norm2"), "mlp.fc1")
    expected = x1 + dense(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, "mlp.fc2")
    block = nnx.eval_shape(lambda: Block(VITS["vit_tiny"], dtype=jnp.float32, rngs=nnx.Rngs(0)))
    state = nnx.state(block)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, params["blocks"][0]))
    nnx.update(block, state)
    assert relative(block(jnp.asarray(x, jnp.float32)), expected) < 1e-6
