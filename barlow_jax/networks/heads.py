"""Heads on the encoder: projector, predictor, prototypes and classifier."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import ParallelLinear

# torch's default for the weights of a Linear: U(-b, b) with b = 1 / sqrt(fan-in).
torch_linear = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_initializer(bound: float) -> Any:
    """Return an initializer that samples U(-bound, bound)."""

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Projector(nnx.Module):
    """MLP head: Linear, BatchNorm and ReLU for each hidden width, then a Linear without BatchNorm.

    Barlow Twins uses no biases (section 2.2). The predictor of the asymmetric methods is a second instance,
    on the embedding.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        *,
        batch_norm: bool = True,
        biases: Literal["none", "hidden", "all"] = "none",
        output_norm: bool = False,
        dtype: jnp.dtype = jnp.float32,
        norm: Any = nnx.BatchNorm,
        parallel: ParallelLinear | None = None,
        rngs: nnx.Rngs,
    ):
        """Build the layers.

        Args:
          inputs: H, width of the representation.
          widths: Output width of each layer; the last one is D.
          batch_norm: Adds a BatchNorm after each hidden layer.
          biases: Linears that have a bias.
          output_norm: Adds a BatchNorm without scale and shift after the last layer.
          dtype: Dtype of the computation; parameters are float32.
          norm: Function that builds a BatchNorm from a width.
          parallel: Splits each layer's output features over devices. BatchNorm then sees the whole batch
            without communication, and activations are communicated instead of gradients.
          rngs: Random streams of the initialization.
        """
        self.dtype, self.parallel = dtype, parallel
        sizes = [inputs, *widths]
        with_bias = [biases != "none"] * (len(widths) - 1) + [biases == "all"]
        linear = partial(nnx.Linear, kernel_init=torch_linear, dtype=dtype, rngs=rngs)
        self.layers = nnx.List(
            linear(i, o, use_bias=bias, bias_init=uniform_initializer(i**-0.5))  # torch's defaults
            for i, o, bias in zip(sizes[:-1], sizes[1:], with_bias, strict=True)
        )
        self.norms = nnx.List(norm(w, rngs=rngs) if batch_norm else None for w in widths[:-1])
        bare = partial(norm, use_scale=False, use_bias=False)
        self.output_norm = bare(widths[-1], rngs=rngs) if output_norm else None

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, H]` representations to `[B, D]` embeddings."""
        for layer, norm in zip(self.layers, (*self.norms, None), strict=True):
            if self.parallel is None:
                x = layer(x)
            else:
                weights = layer.kernel[...].astype(self.dtype)
                x = self.parallel(x.astype(self.dtype), weights, layer is self.layers[0])
                if layer.bias is not None:
                    x += layer.bias[...].astype(self.dtype)[jnp.newaxis]
            if layer is not self.layers[-1]:
                x = nnx.relu(norm(x, use_running_average=not train) if norm else x)
        return self.output_norm(x, use_running_average=not train) if self.output_norm else x


class Prototypes(nnx.Module):
    """K prototypes that embeddings are compared with, both on the unit sphere (SwAV, section 3.2)."""

    def __init__(self, inputs: int, count: int, *, rngs: nnx.Rngs):
        """Initialize `count` prototypes of `inputs` features each."""
        self.vectors = nnx.Param(torch_linear(rngs.params(), (inputs, count), jnp.float32))

    def __call__(self, embedding: jax.Array) -> jax.Array:
        """Map `[B, D]` embeddings to `[B, K]` float32 cosines; the vectors must already be unit columns."""
        return jnp.matmul(unit_rows(embedding), self.vectors[...], precision="highest")


class Classifier(nnx.Module):
    """Linear classifier: weights from N(0, 0.01^2), bias 0, as in the linear probe (section 3.1)."""

    def __init__(self, inputs: int, num_classes: int, *, rngs: nnx.Rngs):
        """Initialize a Linear from `inputs` features to `num_classes` logits."""
        init = nnx.initializers.normal(0.01)
        self.layer = nnx.Linear(inputs, num_classes, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, H]` representations to `[B, C]` float32 logits."""
        return self.layer(x.astype(jnp.float32))
