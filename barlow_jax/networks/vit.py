"""Vision transformers (Dosovitskiy et al. 2021), as in DeiT, DINO, DINOv2, DINOv3, MAE and CLIP.

`config.architectures.VITS` states each architecture's options. Inputs are normalized images `[B, height,
width, C]` whose sides are multiples of the patch; the output is the class token or the mean of the patches
`[B, H]` after the last LayerNorm. Positions are one of:

- "sincos": sines and cosines of row and column (MoCo v3, section 5); no parameter depends on the image size;
- "learned": a table for one grid of patches. Other grids use its bicubic, antialiased interpolation, as timm
  and DINOv2 with registers do (a = -1/2, no offset);
- "rotary": rotations of queries and keys by the patch's coordinates in -1..1 (DINOv3), for any grid.
"""

from functools import partial
import math

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config.architectures import VitFacts

_xavier = nnx.initializers.xavier_uniform()
_ACTIVATIONS = {
    "gelu": partial(nnx.gelu, approximate=False),
    "quick_gelu": lambda x: x * nnx.sigmoid(1.702 * x),
    "swiglu": nnx.silu,  # of the gate
}


class Attention(nnx.Module):
    """Multi-head self-attention."""

    def __init__(self, facts: VitFacts, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        """Build the layers."""
        dense = partial(nnx.LinearGeneral, kernel_init=_xavier, dtype=dtype, rngs=rngs)
        heads = facts.heads, facts.width // facts.heads
        self.query = dense(facts.width, heads, use_bias=facts.biases != "none")
        self.key = dense(facts.width, heads, use_bias=facts.biases == "qkv")
        self.value = dense(facts.width, heads, use_bias=facts.biases != "none")
        self.out = dense(heads, facts.width, axis=(-2, -1))

    def __call__(self, x: jax.Array, rotation: tuple[np.ndarray, np.ndarray] | None) -> jax.Array:
        """Map `[B, T, H]` tokens; `rotation` holds sines and cosines `[1, T, 1, H / heads]`."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        if rotation is not None:
            query, key = (_rotate(part, *rotation) for part in (query, key))
        return self.out(jax.nn.dot_product_attention(query, key, value))


class Block(nnx.Module):
    """Pre-norm transformer block: x + s1 attention(norm(x)), then x + s2 mlp(norm(x)); s is LayerScale."""

    def __init__(self, facts: VitFacts, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        """Build the layers."""
        width, hidden = facts.width, facts.hidden or 4 * facts.width
        dense = partial(nnx.Linear, kernel_init=_xavier, dtype=dtype, rngs=rngs)
        self.norm1, self.norm2 = (_norm(facts, dtype, rngs) for _ in range(2))
        self.attention = Attention(facts, dtype=dtype, rngs=rngs)
        self.hidden, self.out = dense(width, hidden), dense(hidden, width)
        self.activation = facts.activation
        self.gate = dense(width, hidden) if facts.activation == "swiglu" else None
        self.scale1, self.scale2 = (
            nnx.Param(jnp.full(width, 1e-5)) if facts.layer_scale else None for _ in range(2)
        )

    def __call__(self, x: jax.Array, rotation: tuple[np.ndarray, np.ndarray] | None = None) -> jax.Array:
        """Map `[B, T, H]` tokens to `[B, T, H]` tokens."""
        x += _scale(self.attention(self.norm1(x), rotation), self.scale1)
        y, act = self.norm2(x), _ACTIVATIONS[self.activation]
        y = act(self.gate(y)) * self.hidden(y) if self.gate else act(self.hidden(y))
        return x + _scale(self.out(y), self.scale2)


class Vit(nnx.Module):
    """Vision transformer encoder."""

    def __init__(
        self,
        facts: VitFacts,
        *,
        channels: int = 3,
        grid: int = 0,
        dtype: jnp.dtype = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """Build the layers.

        Args:
          facts: The architecture.
          channels: Channels C of the images.
          grid: Patches per side in the table of learned positions; 0 = those of `facts.image_size`.
          dtype: Dtype of the computation; parameters are float32.
          remat: Recomputes each block's activations in the backward pass.
          rngs: Random streams of the initialization.
        """
        width, patch = facts.width, (facts.patch, facts.patch)
        self.facts, self.dtype, self.remat = facts, dtype, remat
        parts = {"kernel_init": _xavier, "dtype": dtype, "rngs": rngs}
        has_bias = not facts.pre_norm
        self.patches = nnx.Conv(channels, width, patch, patch, padding="VALID", use_bias=has_bias, **parts)
        self.token = _tokens(1, width, 1e-6, rngs)
        self.blocks = nnx.List(Block(facts, dtype=dtype, rngs=rngs) for _ in range(facts.blocks))
        self.norm = _norm(facts, dtype, rngs)
        self.pre_norm = _norm(facts, dtype, rngs) if facts.pre_norm else None
        # The class token's row, then those of the patches.
        rows = 1 + (grid or facts.image_size // facts.patch) ** 2
        learned = facts.positions == "learned"
        self.positions = _tokens(rows, width, 0.02, rngs) if learned else None
        self.registers = _tokens(facts.registers, width, 1e-6, rngs) if facts.registers else None

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, height, width, C]` images to `[B, H]` float32; `train` has no effect."""
        del train
        facts, rotation = self.facts, None
        x = self.patches(x.astype(self.dtype))
        grid = x.shape[1:3]
        if facts.positions == "sincos":
            x += positions(*x.shape[1:])[None].astype(self.dtype)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        first = [self.token[...].astype(self.dtype)]
        if self.positions is not None:
            table = interpolate(self.positions[...], grid).astype(self.dtype)
            x, first = x + table[:, 1:], [first[0] + table[:, :1]]
        if self.registers is not None:
            first.append(self.registers[...].astype(self.dtype))
        first = [jnp.broadcast_to(part, (x.shape[0], *part.shape[1:])) for part in first]
        x = jnp.concatenate([*first, x], axis=1)
        if facts.positions == "rotary":
            rotation = rotations(*grid, facts.width // facts.heads, 1 + facts.registers)
        if self.pre_norm:
            x = self.pre_norm(x)
        for block in self.blocks:
            x = nnx.remat(Block.__call__)(block, x, rotation) if self.remat else block(x, rotation)
        if facts.pool == "token":
            return self.norm(x)[:, 0].astype(jnp.float32)
        if facts.pool == "avg":
            x = self.norm(x)
        x = jnp.mean(x[:, 1 + facts.registers :], axis=1, dtype=jnp.float32)
        return self.norm(x).astype(jnp.float32) if facts.pool == "fc_norm" else x


def _norm(facts: VitFacts, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # E[x^2] - E[x]^2 cancels for the outliers in the tokens of released weights.
    fast = facts.positions == "sincos"
    kwargs = {"epsilon": facts.epsilon, "use_fast_variance": fast, "dtype": dtype, "rngs": rngs}
    return nnx.LayerNorm(facts.width, **kwargs)


def _tokens(count: int, width: int, std: float, rngs: nnx.Rngs) -> nnx.Param:
    return nnx.Param(std * jax.random.normal(rngs.params(), (1, count, width)))


def _scale(x: jax.Array, factors: nnx.Param | None) -> jax.Array:
    return x if factors is None else x * factors[...].astype(x.dtype)[None, None]


def interpolate(table: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Return `[1, 1 + rows * columns, H]` positions for a grid from a table `[1, 1 + side^2, H]`."""
    side, width = math.isqrt(table.shape[1] - 1), table.shape[2]
    if (side, side) == grid:
        return table
    patches = jax.image.resize(table[0, 1:].reshape(side, side, width), (*grid, width), "bicubic")
    return jnp.concatenate([table[:, :1], patches.reshape(1, -1, width)], axis=1)


def positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Return `[rows, columns, width]` position embeddings.

    The features are, a quarter each: sine of the column, cosine of the column, sine and cosine of the row.
    """
    rates = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angles = [index[..., None] * rates for index in (column, row)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=-1)


def rotations(rows: int, columns: int, width: int, skipped: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the float32 sines and cosines `[1, skipped + rows * columns, 1, width]` of DINOv3's rotations.

    Coordinates of the patches' centers are in -1..1, and a quarter of the features has the angles 2 pi row /
    100^(4 k / width), the next those of the column, and the other half the same. The first `skipped` tokens
    are not rotated.
    """
    centers = [2 * (np.arange(count) + 0.5) / count - 1 for count in (rows, columns)]
    rates = 2 * np.pi * 100.0 ** -(np.arange(width // 4) / (width // 4))
    row, column = np.meshgrid(*centers, indexing="ij")
    half = np.concatenate([index.reshape(-1, 1) * rates for index in (row, column)], axis=1)
    angles = np.pad(np.tile(half, 2), ((skipped, 0), (0, 0)))[np.newaxis, :, np.newaxis]
    return np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)


def _rotate(x: jax.Array, sines: np.ndarray, cosines: np.ndarray) -> jax.Array:
    first, second = jnp.split(x, 2, axis=-1)
    return (x * cosines + jnp.concatenate([-second, first], axis=-1) * sines).astype(x.dtype)
