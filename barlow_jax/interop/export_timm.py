"""A folder that timm loads, `timm.create_model("local-dir:DIR", pretrained=True)`, and the Hugging Face Hub takes."""

import json
import math
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from barlow_jax.errors import UserError
from barlow_jax.interop import model_card
from barlow_jax.interop.encoder import Trained
from barlow_jax.interop.timm_vit_layout import to_timm
from barlow_jax.interop.torchvision_layout import to_torchvision
from barlow_jax.networks import vit
from barlow_jax.networks.resnet import ENCODERS

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
_OTHERS = "use --format torchvision, orbax or jax"


class Model(NamedTuple):
    """timm's model of an encoder."""

    architecture: str  # one of its names
    arguments: dict[str, Any]  # of its constructor
    first_conv: str  # names of its modules
    classifier: str
    tensors: dict[str, np.ndarray]  # its state dict


def write(trained: Trained, out: pathlib.Path) -> dict[str, Any]:
    """Fills the folder.

    Raises:
      UserError: timm has no such model; names a format that does.
    """
    model = model_of(trained)
    # save_file() would have it readable by its owner alone.
    (out / WEIGHTS).write_bytes(save(model.tensors, metadata={"format": "pt"}))
    (out / CONFIG).write_text(json.dumps(config_of(trained, model), indent=1) + "\n")
    load = [
        "import timm",
        'model = timm.create_model("local-dir:{out}", pretrained=True).eval()',
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
    ]
    on_the_hub = [line.replace("local-dir:{out}", "hf-hub:OWNER/NAME") for line in load]
    (out / CARD).write_text(model_card.text(trained, on_the_hub, library="timm", notes=_notes(trained)))
    return {
        "architecture": model.architecture,
        "model_args": model.arguments,
        "keys": len(model.tensors),
        "load": load,
    }


def model_of(trained: Trained) -> Model:
    """timm's model with the encoder's weights.

    timm's ResNet has a stem of 64 channels; the others are its ResNetV2 without pre-activation, of bottlenecks alone.

    Raises:
      UserError: timm has no such model.
    """
    network = trained.config.network
    if trained.name in vit.SIZES:
        size, patch = trained.image_size, network.patch
        arguments = {"img_size": size, "patch_size": patch}
        tensors = to_timm(trained.params["encoder"], size // patch)
        return Model(f"{trained.name}_patch16_224", arguments, "patch_embed.proj", "head", tensors)
    problem = _problem(trained)
    if problem:
        raise UserError(f"--format=timm: {problem}; {_OTHERS}")
    block, blocks = ENCODERS[trained.name]
    tensors = to_torchvision(trained.params["encoder"], trained.batch_stats["encoder"])
    if network.width == 64:
        if trained.name == "resnet10":
            return Model("resnet18", {"layers": list(blocks)}, "conv1", "fc", tensors)
        return Model(trained.name, {}, "conv1", "fc", tensors)
    channels = [network.width * 2**stage * block.expansion for stage in range(len(blocks))]
    arguments = {"preact": False, "layers": list(blocks), "stem_chs": network.width, "channels": channels}
    renamed = {_second_version(key): tensor for key, tensor in tensors.items()}
    return Model("resnetv2_50", arguments, "stem.conv", "head.fc", renamed)


def _problem(trained: Trained) -> str | None:
    network, (block, blocks) = trained.config.network, ENCODERS[trained.name]
    if network.stem != "imagenet":
        return f"timm has no ResNet with the {network.stem} stem (config.network.stem)"
    if len(blocks) != 4:
        return f"timm's ResNet has four stages, {trained.name} has {len(blocks)} (config.network.encoder)"
    if network.batch_norm_epsilon != 1e-5:
        return f"timm's BatchNorm has an epsilon of 1e-5, config.network.batch_norm_epsilon is {network.batch_norm_epsilon}"
    if network.width != 64 and (block.expansion == 1 or network.width % 8):
        widths = "64" if block.expansion == 1 else "a multiple of 8"
        return f"timm has no {trained.name} of width {network.width} (config.network.width), only of {widths}"
    return None


def config_of(trained: Trained, model: Model) -> dict[str, Any]:
    """What config.json says; timm reads the way from an image file to the network from it."""
    size = trained.image_size
    pretrained = {
        "input_size": [3, size, size],
        "fixed_input_size": not trained.is_resnet,
        "crop_pct": crop_share(size, trained.eval_resize),
        "crop_mode": "center",
        "interpolation": "bilinear",
        "mean": list(trained.normalize.mean),
        "std": list(trained.normalize.std),
        "num_classes": 0,
        "pool_size": [math.ceil(size / 32)] * 2 if trained.is_resnet else None,  # the last feature map
        "first_conv": model.first_conv,
        "classifier": model.classifier,
        "license": trained.license,
    }
    return {
        "architecture": model.architecture,
        "num_classes": 0,
        "num_features": trained.num_features,
        "global_pool": "avg" if trained.is_resnet else "token",
        "model_args": model.arguments,
        "pretrained_cfg": pretrained,
    }


def crop_share(size: int, resize: int) -> float:
    """The share of the resized side that is kept, from which timm makes floor(size / share) pixels: `resize` again."""
    share = size / resize
    return share if math.floor(size / share) == resize else math.nextafter(share, 0)


def _second_version(key: str) -> str:
    """The name in timm's ResNetV2 of one of torchvision's."""
    key = re.sub(r"^(conv|bn)1\.", lambda match: {"conv": "stem.conv.", "bn": "stem.norm."}[match[1]], key)
    key = re.sub(r"^layer(\d)\.(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}.blocks.{match[2]}.", key)
    key = re.sub(r"\.bn(\d)\.", r".norm\1.", key)
    return key.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.norm.")


def _notes(trained: Trained) -> list[str]:
    notes = [
        "From this folder, `local-dir:FOLDER` in the name's place. `hf upload OWNER/NAME FOLDER` puts it on the Hub as it is."
        " `num_classes=N` adds a classifier, untrained."
    ]
    if not trained.is_resnet:
        notes.append(
            f"Positions are a fixed table here, for {trained.image_size} pixels; at another size timm interpolates it, "
            "where barlow_jax computes the sines and cosines of that size."
        )
    return notes
