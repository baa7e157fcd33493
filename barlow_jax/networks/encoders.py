"""Encoder factory: builds the encoder that a config names."""

from typing import Any

from flax import nnx
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.networks import text, vit
from barlow_jax.networks.resnet import ResNet, num_features


def make_encoder(config: config_lib.Network, norm: Any, rngs: nnx.Rngs, *, channels: int) -> nnx.Module:
    """Build the encoder from `[B, height, width, C]` images or `[B, T]` word ids to `[B, H]` representations.

    Args:
      config: The network's config.
      norm: Function that builds a BatchNorm from a width.
      rngs: Random streams of the initialization.
      channels: Channels C of the images.
    """
    dtype = jnp.dtype(config.dtype)
    if config.encoder == config_lib.TEXT_ENCODER:
        return text.Gru(config.text, dtype=dtype, rngs=rngs)
    if config.encoder in vit.SIZES:
        kwargs = {"channels": channels, "patch": config.patch, "remat": config.remat}
        return vit.Vit(config.encoder, dtype=dtype, rngs=rngs, **kwargs)
    return ResNet(
        config.encoder,
        channels=channels,
        width=config.width,
        stem=config.stem,
        dtype=dtype,
        norm=norm,
        remat=config.remat,
        rngs=rngs,
    )


def representation_width(config: config_lib.Network) -> int:
    """Return H, the width of the encoder's representation."""
    if config.encoder == config_lib.TEXT_ENCODER:
        return config.text.hidden_size
    if config.encoder in vit.SIZES:
        return vit.SIZES[config.encoder][0]
    return num_features(config.encoder, config.width)
