"""ResNets (He et al. 2015) as in torchvision: v1.5, explicit padding, residual branches start at 0.

Inputs are normalized images `[B, height, width, C]`; the output is the pooled representation `[B, H]`.
"""

from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config.architectures import ResNetFacts

# He et al. 2015: normal with variance 2 / fan-out, not truncated, as in torchvision.
_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, **kwargs: Any) -> nnx.Conv:
    """Build a convolution with torch's symmetric padding; XLA's SAME is asymmetric at stride 2."""
    kwargs |= {"padding": kernel // 2, "use_bias": False, "kernel_init": _he_normal}
    return nnx.Conv(inputs, outputs, (kernel, kernel), stride, **kwargs)


class Block(nnx.Module):
    """Residual block: two 3x3 convolutions, or as a bottleneck 1x1, 3x3 (with the stride: v1.5) and 1x1."""

    def __init__(
        self, inputs: int, width: int, stride: int, *, bottleneck: bool, conv: Any, norm: Any, rngs: nnx.Rngs
    ):
        """Build the layers; `conv` and `norm` are factories of layers."""
        last, outputs = {"scale_init": nnx.initializers.zeros, "rngs": rngs}, width * (4 if bottleneck else 1)
        if bottleneck:
            self.conv1, self.norm1 = conv(inputs, width, 1, rngs=rngs), norm(width, rngs=rngs)
            self.conv2, self.norm2 = conv(width, width, 3, stride, rngs=rngs), norm(width, rngs=rngs)
            self.conv3, self.norm3 = conv(width, outputs, 1, rngs=rngs), norm(outputs, **last)
        else:
            self.conv1, self.norm1 = conv(inputs, width, 3, stride, rngs=rngs), norm(width, rngs=rngs)
            self.conv2, self.norm2 = conv(width, width, 3, rngs=rngs), norm(width, **last)
            self.conv3 = self.norm3 = None
        projected = stride != 1 or inputs != outputs
        parts = {"conv": conv, "norm": norm, "rngs": rngs}
        self.shortcut = Shortcut(inputs, outputs, stride, **parts) if projected else None

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, height, width, inputs]` to the block's output."""
        y = nnx.relu(self.norm1(self.conv1(x), use_running_average=not train))
        y = self.norm2(self.conv2(y), use_running_average=not train)
        if self.conv3:
            y = self.norm3(self.conv3(nnx.relu(y)), use_running_average=not train)
        return nnx.relu(y + (self.shortcut(x, train=train) if self.shortcut else x))


class Shortcut(nnx.Module):
    """Projection shortcut of a block that changes the shape: a 1x1 convolution with BatchNorm."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, conv: Any, norm: Any, rngs: nnx.Rngs):
        """Build the layers; `conv` and `norm` are factories of layers."""
        self.conv, self.norm = conv(inputs, outputs, 1, stride, rngs=rngs), norm(outputs, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Project `[B, height, width, inputs]` to the block's output shape."""
        return self.norm(self.conv(x), use_running_average=not train)


def _apply_block(block: nnx.Module, x: jax.Array, train: bool) -> jax.Array:
    return block(x, train=train)


class ResNet(nnx.Module):
    """ResNet encoder: stem, stages that double the width and halve the resolution, global average pool."""

    def __init__(
        self,
        facts: ResNetFacts,
        *,
        channels: int = 3,
        dtype: jnp.dtype = jnp.float32,
        norm: Any = nnx.BatchNorm,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """Build the layers.

        Args:
          facts: Blocks, width and stem.
          channels: Channels C of the images.
          dtype: Dtype of the convolutions; parameters and statistics are float32.
          norm: Function that builds a BatchNorm from a number of channels.
          remat: Keeps only the input of each block for the backward pass and recomputes the rest.
          rngs: Random streams of the initialization.
        """
        width = facts.width
        parts = {"conv": partial(conv, dtype=dtype), "norm": norm, "rngs": rngs}
        self.pool, self.remat = facts.stem == "imagenet", remat
        kernel, stride = (7, 2) if self.pool else (3, 1)
        self.conv = parts["conv"](channels, width, kernel, stride, rngs=rngs)
        self.norm = norm(width, rngs=rngs)
        channels, stages = width, []
        for stage, count in enumerate(facts.blocks):
            outputs, layers = width * 2**stage, []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(Block(channels, outputs, stride, bottleneck=facts.bottleneck, **parts))
                channels = outputs * (4 if facts.bottleneck else 1)
            stages.append(nnx.List(layers))
        self.stages = nnx.List(stages)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, height, width, C]` normalized images to `[B, H]` float32 representations."""
        x = nnx.relu(self.norm(self.conv(x), use_running_average=not train))
        if self.pool:
            x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        apply = nnx.remat(_apply_block, static_argnums=2) if self.remat else _apply_block
        for stage in self.stages:
            for block in stage:
                x = apply(block, x, train)
        # Float32 mean: the probe reads this, and bfloat16 has 8 bits.
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
