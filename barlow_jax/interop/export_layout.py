"""Formats "original" and "huggingface", and "torchvision" for other encoders than ResNets: a file of weights.

Files: `model.safetensors` with the keys of `layout_tables`, and `README.md`. A file that was imported comes
back byte for byte, without the keys that the import ignored and without prefixes such as `module.`.
"""

import pathlib
from typing import Any

from safetensors.numpy import save

from barlow_jax.config.architectures import CONVNEXTS, VITS
from barlow_jax.errors import UserError
from barlow_jax.interop import layouts, model_card
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import files
from barlow_jax.networks.encoders import vit_facts


def write(trained: TrainedEncoder, out: pathlib.Path, layout: str) -> dict[str, Any]:
    """Write the folder in the layout of one of these formats.

    Raises:
      UserError: the layout has no such encoder.
    """
    facts = vit_facts(trained.config.network) if trained.name in VITS else CONVNEXTS.get(trained.name)
    if facts is None or getattr(facts, "positions", "") == "sincos":
        timm = "" if trained.is_own else "--format=timm, "
        others = f"{timm}--format=orbax, --format=jax or --format=onnx"
        raise UserError(f"--format={layout} has no {trained.name}. Use {others}")
    tensors = layouts.write(facts, layout, trained.params["encoder"])
    (out / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    load = ["from safetensors.torch import load_file", 'state_dict = load_file("{out}/model.safetensors")']
    inside = [line.replace("{out}/", "") for line in load]
    files.write_text(out / "README.md", model_card.text(trained, inside))
    return {"keys": len(tensors), "load": load}
