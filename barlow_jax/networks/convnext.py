"""ConvNeXt (Liu et al. 2022) and its version 2 (Woo et al. 2023).

Inputs are normalized images `[B, height, width, C]`; the output is the mean of the last feature map, after a
LayerNorm, `[B, H]`. The block is x + s mlp(norm(depthwise(x))) with LayerScale s in version 1. Version 2 has
global response normalization in the MLP instead: with g_c the L2 norm of channel c over the image,

    grn(x)_c = x_c + gamma_c x_c g_c / (mean_c g_c + 1e-6) + beta_c
"""

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config.architectures import ConvNextFacts

_init = nnx.initializers.truncated_normal(0.02)


def _norm(width: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=1e-6, use_fast_variance=False, dtype=dtype, rngs=rngs)


def _channels(leaf: nnx.Param, dtype: jnp.dtype) -> jax.Array:
    return leaf[...].astype(dtype)[None, None, None]


class Grn(nnx.Module):
    """Global response normalization."""

    def __init__(self, width: int):
        """Start as the identity."""
        self.scale, self.bias = nnx.Param(jnp.zeros(width)), nnx.Param(jnp.zeros(width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, height, width, C]` to the same shape."""
        squares = jnp.sum(jnp.square(x.astype(jnp.float32)), axis=(1, 2), keepdims=True)
        # The gradient of sqrt is infinite at a channel of zeros.
        norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
        relative = norms / (jnp.mean(norms, axis=-1, keepdims=True) + 1e-6)
        scale, bias = (_channels(leaf, x.dtype) for leaf in (self.scale, self.bias))
        return x + scale * x * relative.astype(x.dtype) + bias


class Block(nnx.Module):
    """Depthwise 7x7 convolution, LayerNorm and an MLP with 4 C hidden units, added to the input."""

    def __init__(self, width: int, *, grn: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        """Build the layers."""
        parts = {"kernel_init": _init, "dtype": dtype, "rngs": rngs}
        self.depthwise = nnx.Conv(width, width, (7, 7), feature_group_count=width, **parts)
        self.norm = _norm(width, dtype, rngs)
        self.hidden, self.out = nnx.Linear(width, 4 * width, **parts), nnx.Linear(4 * width, width, **parts)
        self.grn = Grn(4 * width) if grn else None
        self.scale = None if grn else nnx.Param(jnp.full(width, 1e-6))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, height, width, C]` to the same shape."""
        y = nnx.gelu(self.hidden(self.norm(self.depthwise(x))), approximate=False)
        y = self.out(self.grn(y) if self.grn else y)
        return x + (y if self.scale is None else y * _channels(self.scale, y.dtype))


class Downsampling(nnx.Module):
    """Convolution with stride equal to its kernel, and a LayerNorm before it, or after it in the stem."""

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        """Build the layers; stride 4 is the stem."""
        self.is_stem, size = stride == 4, (stride, stride)
        parts = {"padding": "VALID", "kernel_init": _init, "dtype": dtype, "rngs": rngs}
        self.conv = nnx.Conv(inputs, width, size, size, **parts)
        self.norm = _norm(width if self.is_stem else inputs, dtype, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, height, width, inputs]` to `[B, height / stride, width / stride, width]`."""
        return self.norm(self.conv(x)) if self.is_stem else self.conv(self.norm(x))


class ConvNext(nnx.Module):
    """ConvNeXt encoder, without stochastic depth."""

    def __init__(
        self,
        facts: ConvNextFacts,
        *,
        channels: int = 3,
        dtype: jnp.dtype = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """Build the layers; `remat` recomputes each block's activations in the backward pass."""
        self.dtype, self.remat = dtype, remat
        parts = {"dtype": dtype, "rngs": rngs}
        inputs = (channels, *facts.widths)
        self.downsamplings = nnx.List(
            Downsampling(inputs[stage], width, 2 if stage else 4, **parts)
            for stage, width in enumerate(facts.widths)
        )
        self.stages = nnx.List(
            nnx.List(Block(width, grn=facts.grn, **parts) for _ in range(count))
            for count, width in zip(facts.blocks, facts.widths, strict=True)
        )
        self.norm = _norm(facts.widths[-1], dtype, rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, height, width, C]` images to `[B, H]` float32; `train` has no effect."""
        del train
        x = x.astype(self.dtype)
        for downsampling, stage in zip(self.downsamplings, self.stages, strict=True):
            x = downsampling(x)
            for block in stage:
                x = nnx.remat(Block.__call__)(block, x) if self.remat else block(x)
        return self.norm(jnp.mean(x, axis=(1, 2), dtype=jnp.float32)).astype(jnp.float32)
