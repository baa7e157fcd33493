"""The vision transformer with the keys of timm's VisionTransformer.

    timm                                  here
    cls_token                             token
    pos_embed                             none: `vit.positions`, after a row of zeros for the class token
    patch_embed.proj.weight, .bias        patches.kernel, .bias
    blocks.0.norm1.weight, .bias          blocks[0].norm1.scale, .bias
    blocks.0.attn.qkv.weight              blocks[0].attention.query, .key, .value, stacked
    blocks.0.attn.proj.weight             blocks[0].attention.out.kernel
    blocks.0.mlp.fc1.weight, fc2          blocks[0].hidden.kernel, out
    norm.weight, .bias                    norm.scale, .bias

A dense kernel is `[out, in]` in timm and `[in, out]` here, with the heads concatenated. Only the position
table is computed; everything else is copied.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from barlow_jax.networks.vit import positions


def to_timm(params: Mapping[str, Any], grid: int) -> dict[str, np.ndarray]:
    """Return the state dict of a VisionTransformer without a classifier, for `grid` x `grid` patches.

    Args:
      params: nested dict, "encoder" in the parameters of `Network.init`.
      grid: number of patches per side. Positions are a function of the coordinates here, a parameter in timm.
    """
    width = params["token"].shape[-1]
    table = np.concatenate([np.zeros((1, width)), positions(grid, grid, width).reshape(-1, width)])
    tensors = {
        "cls_token": params["token"],
        "pos_embed": table[np.newaxis],
        "patch_embed.proj.weight": np.transpose(params["patches"]["kernel"], (3, 2, 0, 1)),
        "patch_embed.proj.bias": params["patches"]["bias"],
    }
    for number in range(len(params["blocks"])):
        block = _block(params["blocks"][number], width)
        tensors |= {f"blocks.{number}.{key}": value for key, value in block.items()}
    tensors |= _norm("norm", params["norm"])
    return {key: np.array(value, np.float32, order="C") for key, value in tensors.items()}


def _block(block: Mapping[str, Any], width: int) -> dict[str, np.ndarray]:
    attention = block["attention"]
    qkv = [attention[name] for name in ("query", "key", "value")]
    return {
        **_norm("norm1", block["norm1"]),
        "attn.qkv.weight": np.concatenate([part["kernel"].reshape(width, width).T for part in qkv]),
        "attn.qkv.bias": np.concatenate([part["bias"].reshape(width) for part in qkv]),
        "attn.proj.weight": attention["out"]["kernel"].reshape(width, width).T,
        "attn.proj.bias": attention["out"]["bias"],
        **_norm("norm2", block["norm2"]),
        "mlp.fc1.weight": block["hidden"]["kernel"].T,
        "mlp.fc1.bias": block["hidden"]["bias"],
        "mlp.fc2.weight": block["out"]["kernel"].T,
        "mlp.fc2.bias": block["out"]["bias"],
    }


def _norm(name: str, norm: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.weight": norm["scale"], f"{name}.bias": norm["bias"]}
