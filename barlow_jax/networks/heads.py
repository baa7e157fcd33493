"""What sits on the encoder: projector and predictor, and a classifier."""

from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.types import ParallelLinear

# torch's default for Linear: uniform within 1 / sqrt(fan-in).
torch_linear = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Projector(nnx.Module):
    """Linear, BatchNorm, ReLU for each hidden width, then a bare Linear; no biases (Barlow Twins, 2.2).

    The predictor of the asymmetric variants is another one, on the embedding.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        *,
        batch_norm: bool = True,
        dtype: jnp.dtype = jnp.float32,
        norm: Any = nnx.BatchNorm,
        parallel: ParallelLinear | None = None,
        rngs: nnx.Rngs,
    ):
        """Args:
        inputs: H, width of the representation.
        widths: of each layer; the last one is D.
        batch_norm: after each hidden layer.
        dtype: of the computation; parameters are float32.
        norm: makes a BatchNorm from a width.
        parallel: splits each layer's output features over devices: its BatchNorm sees the whole batch
          without asking another one, and what crosses the wire are activations instead of gradients.
        """
        self.dtype, self.parallel = dtype, parallel
        sizes = [inputs, *widths]
        self.layers = nnx.List(
            nnx.Linear(i, o, use_bias=False, kernel_init=torch_linear, dtype=dtype, rngs=rngs)
            for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.norms = nnx.List(norm(w, rngs=rngs) if batch_norm else None for w in widths[:-1])

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H]` representations to `[B, D]` embeddings."""
        for layer, norm in zip(self.layers, (*self.norms, None), strict=True):
            if self.parallel is None:
                x = layer(x)
            else:
                weights = layer.kernel[...].astype(self.dtype)
                x = self.parallel(x.astype(self.dtype), weights, layer is self.layers[0])
            if layer is not self.layers[-1]:
                x = nnx.relu(norm(x, use_running_average=not train) if norm else x)
        return x


class Classifier(nnx.Module):
    """A Linear with bias: weight N(0, 0.01), bias 0, as the linear probe starts (section 3.1)."""

    def __init__(self, inputs: int, num_classes: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.normal(0.01)
        self.layer = nnx.Linear(inputs, num_classes, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H]` representations to `[B, C]` logits, float32."""
        return self.layer(x.astype(jnp.float32))
