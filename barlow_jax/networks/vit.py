"""Vision transformers (Dosovitskiy et al. 2021; sizes of DeiT, Touvron et al. 2021) with fixed positions.

Inputs are normalized images `[B, height, width, C]` of any size that is a multiple of the patch size. The
output is the class token `[B, H]` after the last LayerNorm. Position embeddings are sines and cosines of row
and column (MoCo v3, section 5), so no parameter depends on the image size. LayerNorm's eps is 1e-6.
"""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

# Representation width H, number of blocks, attention heads.
SIZES = {"vit_tiny": (192, 12, 3), "vit_small": (384, 12, 6), "vit_base": (768, 12, 12)}
_xavier = nnx.initializers.xavier_uniform()


class Block(nnx.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x)) with 4 H hidden units."""

    def __init__(self, width: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        """Build the layers."""
        norm = {"epsilon": 1e-6, "dtype": dtype, "rngs": rngs}
        dense = {"kernel_init": _xavier, "dtype": dtype, "rngs": rngs}
        self.norm1, self.norm2 = nnx.LayerNorm(width, **norm), nnx.LayerNorm(width, **norm)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, **dense)
        self.hidden, self.out = nnx.Linear(width, 4 * width, **dense), nnx.Linear(4 * width, width, **dense)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, T, H]` tokens to `[B, T, H]` tokens."""
        x += self.attention(self.norm1(x))
        return x + self.out(nnx.gelu(self.hidden(self.norm2(x)), approximate=False))


class Vit(nnx.Module):
    """Vision transformer encoder."""

    def __init__(
        self,
        name: str,
        *,
        channels: int = 3,
        patch: int = 16,
        dtype: jnp.dtype = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """Build the layers.

        Args:
          name: A key of SIZES.
          channels: Channels C of the images.
          patch: Side of a patch in pixels.
          dtype: Dtype of the computation; parameters are float32.
          remat: Recomputes each block's activations in the backward pass.
          rngs: Random streams of the initialization.
        """
        width, blocks, heads = SIZES[name]
        self.dtype, self.remat = dtype, remat
        self.patches = nnx.Conv(
            channels,
            width,
            (patch, patch),
            (patch, patch),
            padding="VALID",
            kernel_init=_xavier,
            dtype=dtype,
            rngs=rngs,
        )
        self.token = nnx.Param(1e-6 * jax.random.normal(rngs.params(), (1, 1, width)))
        self.blocks = nnx.List(Block(width, heads, dtype=dtype, rngs=rngs) for _ in range(blocks))
        self.norm = nnx.LayerNorm(width, epsilon=1e-6, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, height, width, C]` images to `[B, H]` float32; `train` has no effect."""
        del train
        x = self.patches(x.astype(self.dtype))
        x += positions(*x.shape[1:])[None].astype(self.dtype)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        token = jnp.broadcast_to(self.token[...].astype(self.dtype), (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([token, x], axis=1)
        for block in self.blocks:
            x = nnx.remat(Block.__call__)(block, x) if self.remat else block(x)
        return self.norm(x)[:, 0].astype(jnp.float32)


def positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Return `[rows, columns, width]` position embeddings.

    The features are, a quarter each: sine of the column, cosine of the column, sine and cosine of the row.
    """
    rates = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angles = [index[..., None] * rates for index in (column, row)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=-1)
