"""An encoder with its heads as pure functions of their arrays."""

from collections.abc import Callable
import dataclasses
import functools
from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax import config as config_lib
from barlow_jax.networks.heads import Classifier, Projector
from barlow_jax.networks.resnet import ResNet, num_features
from barlow_jax.types import Outputs, ParallelLinear


def resnet(config: config_lib.Network, norm: Any, rngs: nnx.Rngs) -> nnx.Module:
    """The encoder of a config."""
    return ResNet(
        config.encoder,
        width=config.width,
        stem=config.stem,
        dtype=jnp.dtype(config.dtype),
        norm=norm,
        remat=config.remat,
        rngs=rngs,
    )


class Factors(nnx.Module):
    """In an encoder's place, where only what comes after it is of interest: `[B, H]` representations are the
    images, and one factor a feature has the gradient go on to where it would."""

    def __init__(self, config: config_lib.Network, norm: Any, rngs: nnx.Rngs):
        del norm, rngs
        self.factors = nnx.Param(jnp.ones(num_features(config.encoder, config.width)))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return x * self.factors[...]


class Siamese(nnx.Module):
    """The encoder and the heads that its config names; every branch is this one."""

    def __init__(
        self, config: config_lib.Network, make_encoder: Any, parallel: ParallelLinear | None, rngs: nnx.Rngs
    ):
        dtype = jnp.dtype(config.dtype)
        norm = partial(
            nnx.BatchNorm, momentum=config.batch_norm_momentum, epsilon=config.batch_norm_epsilon, dtype=dtype
        )
        self.encoder = make_encoder(config, norm, rngs)
        head = partial(
            Projector,
            batch_norm=config.projector_batch_norm,
            dtype=dtype,
            # E[x^2] - E[x]^2 cancels where a feature's mean is large against its deviation.
            norm=partial(norm, use_fast_variance=False),
            rngs=rngs,
        )
        inputs, widths, more = num_features(config.encoder, config.width), config.projector, config.predictor
        self.projector = head(inputs, widths, parallel=parallel) if widths else None
        self.predictor = head(widths[-1], more) if widths and more else None
        self.classifier = Classifier(inputs, config.num_classes, rngs=rngs) if config.num_classes else None

    def __call__(self, images: jax.Array) -> Outputs:
        """One view in training mode."""
        representation = self.encoder(images, train=True)
        embedding = self.projector and self.projector(representation, train=True)
        return Outputs(
            representation,
            embedding,
            prediction=self.predictor and self.predictor(embedding, train=True),
            logits=self.classifier and self.classifier(representation),
        )


@dataclasses.dataclass(frozen=True)
class Network:
    """`init` makes the arrays, the others use them; nothing is kept in between."""

    config: config_lib.Network
    parallel: ParallelLinear | None = None  # of the projector, where the mesh shards it
    make_encoder: Callable[[config_lib.Network, Any, nnx.Rngs], nnx.Module] = resnet

    @functools.cached_property
    def _graph(self) -> Any:
        return nnx.graphdef(nnx.eval_shape(lambda: self._module(nnx.Rngs(0))))

    def _module(self, rngs: nnx.Rngs) -> Siamese:
        return Siamese(self.config, self.make_encoder, self.parallel, rngs)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Parameters and running statistics as nested dicts of float32 arrays."""
        module = self._module(nnx.Rngs(key))
        return tuple(nnx.to_pure_dict(nnx.state(module, kind)) for kind in (nnx.Param, nnx.BatchStat))

    def apply(self, params: Any, batch_stats: Any, images: jax.Array) -> tuple[Outputs, Any]:
        """One view in training mode: `[B, height, width, 3]` images to Outputs and the new statistics.

        BatchNorm sees the whole (global) batch of this view and nothing of the other one.
        """
        module = nnx.merge(self._graph, params, batch_stats)
        outputs = module(images)
        return outputs, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    def encode(self, params: Any, batch_stats: Any, images: jax.Array) -> jax.Array:
        """The frozen encoder: `[B, height, width, 3]` images to `[B, H]` float32, running statistics."""
        return nnx.merge(self._graph, params, batch_stats).encoder(images, train=False)
