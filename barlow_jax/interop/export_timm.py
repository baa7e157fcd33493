"""Format "timm": a folder for `timm.create_model("local-dir:DIR", pretrained=True)` and the Hugging Face Hub.

Files: `model.safetensors` (timm's keys and shapes), `config.json` (architecture and preprocessing), and the
model card `README.md`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from barlow_jax.config.architectures import VITS, ConvNextFacts, VitFacts
from barlow_jax.errors import UserError
from barlow_jax.interop import layouts, model_card
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.networks.vit import positions


class Model(NamedTuple):
    """The timm model that corresponds to an encoder."""

    architecture: str  # name in timm's registry
    arguments: dict[str, Any]  # constructor arguments
    first_conv: str  # module name of the first convolution
    classifier: str  # module name of the classifier
    tensors: dict[str, np.ndarray]  # state dict


def write(trained: TrainedEncoder, out: Path) -> dict[str, Any]:
    """Write the folder.

    Raises:
      UserError: timm has no such model; the message names another format.
    """
    model = timm_model(trained)
    # save_file() would create a file that only its owner can read.
    (out / "model.safetensors").write_bytes(save(model.tensors, metadata={"format": "pt"}))
    files.write_json(out / "config.json", config_of(trained, model))
    load = [
        "import timm",
        'model = timm.create_model("local-dir:{out}", pretrained=True).eval()',
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
    ]
    on_the_hub = [line.replace("local-dir:{out}", "hf-hub:OWNER/NAME") for line in load]
    card = model_card.text(trained, on_the_hub, library="timm", notes=_notes(trained))
    files.write_text(out / "README.md", card)
    entries = {"architecture": model.architecture, "model_args": model.arguments}
    return entries | {"keys": len(model.tensors), "load": load}


def timm_model(trained: TrainedEncoder) -> Model:
    """Return the timm model with the encoder's weights.

    timm's ResNet has a stem of 64 channels. Other widths are its ResNetV2 without pre-activation, which has
    bottleneck blocks only.

    Raises:
      UserError: timm has no such model.
    """
    facts = trained.facts
    if isinstance(facts, ConvNextFacts):
        return Model(trained.name, {}, "stem.0", "head.fc", trained.tensors("timm"))
    if isinstance(facts, VitFacts):
        return _vit(trained, facts)
    if problem := _problem(trained):
        other = "--format=torchvision, " if facts else ""
        raise UserError(f"--format=timm: {problem}. Use {other}--format=orbax, --format=jax or --format=onnx")
    if facts.width == 64:
        name, arguments = trained.name, {}
        if name == "resnet10":
            name, arguments = "resnet18", {"layers": list(facts.blocks)}
        return Model(name, arguments, "conv1", "fc", trained.tensors("torchvision"))
    channels = [facts.width * 2**stage * 4 for stage in range(len(facts.blocks))]
    arguments = {"preact": False, "layers": list(facts.blocks), "stem_chs": facts.width, "channels": channels}
    return Model("resnetv2_50", arguments, "stem.conv", "head.fc", trained.tensors("timm"))


def _vit(trained: TrainedEncoder, facts: VitFacts) -> Model:
    params, size = trained.params["encoder"], trained.image_size
    name, arguments = trained.name, {"img_size": size}
    if facts.positions == "sincos":  # a function of the coordinates here, a parameter in timm
        grid, width = size // facts.patch, facts.width
        table = np.concatenate([np.zeros((1, width)), positions(grid, grid, width).reshape(-1, width)])
        params = {**params, "positions": table[np.newaxis].astype(np.float32)}
        facts, name = facts._replace(positions="learned"), f"{name}_patch16_224"
        arguments["patch_size"] = facts.patch
    if facts.pool != VITS[trained.name].pool:
        arguments |= {"global_pool": "token"} if facts.pool == "token" else {"global_pool": "avg"}
        arguments |= {"fc_norm": False} if facts.pool == "avg" else {}
    return Model(name, arguments, "patch_embed.proj", "head", layouts.write(facts, "timm", params))


def _problem(trained: TrainedEncoder) -> str | None:
    facts, epsilon = trained.facts, trained.config.network.batch_norm_epsilon
    if facts is None:
        return f"timm has no model {trained.name}"
    if facts.stem != "imagenet":
        return f"timm has no ResNet with the {facts.stem} stem (config.network.stem)"
    if (stages := len(facts.blocks)) != 4:
        return f"timm's ResNet has four stages, but {trained.name} has {stages} (config.network.encoder)"
    if epsilon != 1e-5:
        return f"timm's BatchNorm has an epsilon of 1e-5, but config.network.batch_norm_epsilon is {epsilon}"
    if facts.width != 64 and (not facts.bottleneck or facts.width % 8):
        widths = "a multiple of 8" if facts.bottleneck else "64"
        return f"timm's {trained.name} must have width {widths}, but config.network.width is {facts.width}"
    return None


def config_of(trained: TrainedEncoder, model: Model) -> dict[str, Any]:
    """Return the content of config.json, including the preprocessing that timm applies to images."""
    size, data = trained.image_size, trained.config.data
    is_vit = isinstance(trained.facts, VitFacts)
    last_map = None if is_vit else [math.ceil(size / 32)] * 2  # its size
    pretrained = {
        "input_size": [data.channels, size, size],
        "fixed_input_size": is_vit,
        "crop_pct": crop_fraction(size, data.eval_resize),
        "crop_mode": "center",
        "interpolation": data.eval_interpolation,
        "mean": list(trained.normalize.mean),
        "std": list(trained.normalize.std),
        "num_classes": 0,
        "pool_size": last_map,
        # timm converts the first convolution of a model of other channels from RGB, or leaves it untrained.
        "first_conv": model.first_conv if data.channels == 3 else None,
        "classifier": model.classifier,
        "license": trained.license,
    }
    return {
        "architecture": model.architecture,
        "num_classes": 0,
        "num_features": trained.num_features,
        "global_pool": "token" if is_vit and trained.facts.pool == "token" else "avg",
        "model_args": model.arguments | ({} if data.channels == 3 else {"in_chans": data.channels}),
        "pretrained_cfg": pretrained,
    }


def crop_fraction(size: int, resize: int) -> float:
    """Return the fraction f of the resized side to keep, for which timm's floor(size / f) equals `resize`."""
    fraction = size / resize
    return fraction if math.floor(size / fraction) == resize else math.nextafter(fraction, 0)


def _notes(trained: TrainedEncoder) -> list[str]:
    notes = [
        "To load this folder from disk, use `local-dir:FOLDER` as the model name. `hf upload OWNER/NAME "
        "FOLDER` publishes it on the Hub. `num_classes=N` adds an untrained classifier."
    ]
    if getattr(trained.facts, "positions", "") == "sincos":
        notes.append(
            f"Position embeddings are stored as a table for {trained.image_size} pixels. At other sizes timm "
            "interpolates it, whereas barlow_jax computes the sines and cosines for that size."
        )
    return notes
