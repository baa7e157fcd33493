"""Parts of a user's own, as a user writes them; the tests name them in configs."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config import parts
from barlow_jax.losses.embedding_statistics import embedding_statistics
import barlow_jax.types


class ConvNet(nnx.Module):
    """Two convolutions with BatchNorm; returns maps."""

    def __init__(self, rngs, *, dtype, channels, image_size):
        norm = {"momentum": 0.9, "dtype": dtype, "rngs": rngs}
        self.first = nnx.Conv(channels, 8, (3, 3), use_bias=False, dtype=dtype, rngs=rngs)
        self.second = nnx.Conv(8, 12, (3, 3), 2, use_bias=False, dtype=dtype, rngs=rngs)
        self.norms = nnx.List([nnx.BatchNorm(8, **norm), nnx.BatchNorm(12, **norm)])

    def __call__(self, x):
        x = nnx.relu(self.norms[0](self.first(x)))
        return nnx.relu(self.norms[1](self.second(x)))


class Transformer(nnx.Module):
    """One block of attention on patches of four pixels, with LayerNorm and learned positions."""

    def __init__(self, rngs, *, dtype, channels, image_size):
        self.patches = nnx.Conv(channels, 16, (4, 4), 4, padding="VALID", dtype=dtype, rngs=rngs)
        tokens = (image_size // 4) ** 2
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, tokens, 16)))
        self.norm = nnx.LayerNorm(16, dtype=dtype, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 16, decode=False, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1, 16) + self.positions[...]
        return (x + self.attention(self.norm(x))).mean(axis=1)


class Head(nnx.Module):
    """One hidden layer with LayerNorm."""

    def __init__(self, rngs, *, inputs, widths, dtype):
        self.hidden = nnx.Linear(inputs, widths[0], dtype=dtype, rngs=rngs)
        self.norm = nnx.LayerNorm(widths[0], dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(widths[0], widths[-1], dtype=dtype, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.hidden(x))))


def alignment(config, run_info):
    """Squared distance of the two views, scaled."""

    def loss(outputs, memory, context):
        a, b = (outputs[name].embedding.astype(jnp.float32) for name in "ab")
        value = config.scale * jnp.mean(jnp.square(a - b))
        return value, memory, {"loss": value, **embedding_statistics([a, b])}

    return barlow_jax.types.Objective(loss)


def lion(config):
    """Direction of Lion, before the learning rate."""
    return optax.scale_by_lion(b1=config.momentum)


def linear(*, peak, warmup_steps, num_steps, final_scale):
    """Learning rate that falls by a line."""
    return optax.linear_schedule(peak, final_scale * peak, num_steps)


def photographs():
    """Forty images of five channels with labels and splits."""
    images = np.random.default_rng(0).integers(0, 4000, (40, 12, 10, 5), np.uint16)
    return {"images": images, "label": [i % 4 for i in range(40)], "split": ["train", "test"] * 20}


parts.register_encoder("registered_convnet", ConvNet)
