"""Encoder as a torch module, in a program that has torch."""

import pathlib
import runpy
import sys
import tempfile
from typing import Any

from barlow_jax.config.architectures import ResNetFacts
from barlow_jax.errors import UserError
from barlow_jax.interop import export_state_dict, export_timm
from barlow_jax.interop.encoder import TrainedEncoder


def build(trained: TrainedEncoder) -> Any:
    """Return the module that `experiment.pretrained.to_torch` describes."""
    if "tensorflow" in sys.modules:
        raise UserError(
            "to_torch: this process has imported TensorFlow, beside which torch crashes. Use a new one"
        )
    try:
        import torch
        from torchvision.transforms import v2

        if isinstance(trained.facts, ResNetFacts):
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder) / "build.py"
                file.write_text("\n".join(export_state_dict.construction_code(trained)))
                model = runpy.run_path(str(file))["model"]
            tensors = trained.tensors("torchvision")
        else:
            found = export_timm.timm_model(trained)
            import timm

            config = export_timm.config_of(trained, found)
            keys = {"num_classes": 0, "global_pool": config["global_pool"], **config["model_args"]}
            model, tensors = timm.create_model(found.architecture, **keys), found.tensors
    except ImportError as error:
        raise UserError(
            f"to_torch needs torch, torchvision and timm ({error}). pip install 'barlow_jax[interop]'"
        ) from None
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in tensors.items()})
    normalize = trained.normalize
    module = torch.nn.Sequential(
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(normalize.mean), list(normalize.std))
    )
    module.add_module("encoder", model)
    return module.train(False)
