"""An encoder with its heads as pure functions of their arrays."""

import dataclasses
import functools
from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax import config as config_lib
from barlow_jax.networks.heads import Projector
from barlow_jax.networks.resnet import ResNet, num_features
from barlow_jax.types import FeatureParallel, Outputs


class Siamese(nnx.Module):
    """The encoder and its projector; both branches of the twins are this one."""

    def __init__(self, config: config_lib.Network, rngs: nnx.Rngs, parallel: FeatureParallel | None = None):
        dtype = jnp.dtype(config.dtype)
        norm = partial(
            nnx.BatchNorm, momentum=config.batch_norm_momentum, epsilon=config.batch_norm_epsilon, dtype=dtype
        )
        self.encoder = ResNet(
            config.encoder,
            width=config.width,
            stem=config.stem,
            dtype=dtype,
            norm=norm,
            remat=config.remat,
            rngs=rngs,
        )
        self.projector = Projector(
            num_features(config.encoder, config.width),
            config.projector,
            batch_norm=config.projector_batch_norm,
            dtype=dtype,
            # E[x^2] - E[x]^2 cancels where a feature's mean is large against its deviation.
            norm=partial(norm, use_fast_variance=False),
            parallel=parallel,
            rngs=rngs,
        )


@dataclasses.dataclass(frozen=True)
class Network:
    """`init` makes the arrays, the others use them; nothing is kept in between."""

    config: config_lib.Network
    parallel: FeatureParallel | None = None  # of the projector, where the mesh shards it

    @functools.cached_property
    def _graph(self) -> Any:
        return nnx.graphdef(nnx.eval_shape(lambda: Siamese(self.config, nnx.Rngs(0), self.parallel)))

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Parameters and running statistics as nested dicts of float32 arrays."""
        module = Siamese(self.config, nnx.Rngs(key))
        return tuple(nnx.to_pure_dict(nnx.state(module, kind)) for kind in (nnx.Param, nnx.BatchStat))

    def apply(self, params: Any, batch_stats: Any, images: jax.Array) -> tuple[Outputs, Any]:
        """One view in training mode: `[B, height, width, 3]` images to Outputs and the new statistics.

        BatchNorm sees the whole (global) batch of this view and nothing of the other one.
        """
        module = nnx.merge(self._graph, params, batch_stats)
        representation = module.encoder(images, train=True)
        embedding = module.projector(representation, train=True)
        return Outputs(representation, embedding), nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    def encode(self, params: Any, batch_stats: Any, images: jax.Array) -> jax.Array:
        """The frozen encoder: `[B, height, width, 3]` images to `[B, H]` float32, running statistics."""
        return nnx.merge(self._graph, params, batch_stats).encoder(images, train=False)
