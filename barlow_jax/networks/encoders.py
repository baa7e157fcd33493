"""Encoder factory: builds the encoder that a config names."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import parts, schema as config_lib
from barlow_jax.config.architectures import CONVNEXTS, RESNETS, VITS, ConvNextFacts, Facts, VitFacts
from barlow_jax.networks import own, text
from barlow_jax.networks.convnext import ConvNext
from barlow_jax.networks.resnet import ResNet
from barlow_jax.networks.vit import Vit


def make_encoder(
    config: config_lib.Network, norm: Any, rngs: nnx.Rngs, *, channels: int, image_size: int = 224
) -> nnx.Module:
    """Build the encoder from `[B, height, width, C]` images or `[B, T]` word ids to `[B, H]` representations.

    Args:
      config: The network's config.
      norm: Function that builds a BatchNorm from a width.
      rngs: Random streams of the initialization.
      channels: Channels C of the images.
      image_size: Side of the images in evaluations, which an encoder of the user's own may depend on.
    """
    dtype = jnp.dtype(config.dtype)
    if config.encoder == config_lib.TEXT_ENCODER:
        return text.Gru(config.text, dtype=dtype, rngs=rngs)
    if config.encoder not in parts.SHIPPED["encoder"]:
        image = {"channels": channels, "image_size": image_size}
        return own.OwnModule("encoder", config.encoder, rngs, dtype=dtype, **image)
    kwargs = {"channels": channels, "dtype": dtype, "remat": config.remat, "rngs": rngs}
    facts = encoder_facts(config)
    if isinstance(facts, VitFacts):
        return Vit(facts, grid=config.position_grid, **kwargs)
    if isinstance(facts, ConvNextFacts):
        return ConvNext(facts, **kwargs)
    return ResNet(facts, norm=norm, **kwargs)


def encoder_facts(config: config_lib.Network) -> Facts | None:
    """Return the facts of the encoder with the config's settings of it; None for a user's own."""
    if facts := RESNETS.get(config.encoder):
        return facts._replace(width=config.width, stem=config.stem)
    facts = VITS.get(config.encoder)
    if facts is None:
        return CONVNEXTS.get(config.encoder)
    patch = config.patch if facts.positions == "sincos" else facts.patch
    return facts._replace(patch=patch, pool=facts.pool if config.pool == "auto" else config.pool)


def representation_width(
    config: config_lib.Network, *, channels: int, image_size: int, view_size: int | None = None
) -> int:
    """Return H, the width of the encoder's representation of images of `view_size`, by default `image_size`.

    Raises:
      UserError: an encoder of the user's own does not follow the contract (docs/extending.md).
    """
    if config.encoder == config_lib.TEXT_ENCODER:
        return config.text.hidden_size
    if config.encoder not in parts.SHIPPED["encoder"]:
        side = view_size or image_size
        kwargs = {"dtype": jnp.dtype(config.dtype), "channels": channels, "image_size": image_size}
        return own.output_width("encoder", config.encoder, (side, side, channels), **kwargs)
    return encoder_facts(config).features


def layer_depths(params: Mapping[str, Any]) -> Any:
    """Return the depth of each parameter of an encoder, a tree of integers 0..L, for layer-wise rates.

    0 is what precedes the blocks: stem, patches, tokens, positions. The blocks count from 1, over all stages,
    and the convolution between two stages belongs to the block after it. A LayerNorm after the last block has
    the depth L = number of blocks + 1 of the heads.
    """
    blocks = params.get("blocks", {})
    counts = [len(stage) for stage in (params["stages"].values() if "stages" in params else [blocks])]
    starts = [sum(counts[:stage]) for stage in range(len(counts) + 1)]
    last_norm = "norm" if "blocks" in params or "downsamplings" in params else None

    def depth(path: tuple, leaf: Any) -> int:
        del leaf
        part, *indices = (key.key for key in path)
        if part == "stages":
            return 1 + starts[int(indices[0])] + int(indices[1])
        if part == "blocks":
            return 1 + int(indices[0])
        if part == "downsamplings" and int(indices[0]):
            return 1 + starts[int(indices[0])]
        return 1 + starts[-1] if part == last_norm else 0

    return jax.tree_util.tree_map_with_path(depth, params)
