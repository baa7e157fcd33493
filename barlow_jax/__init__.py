"""Self-supervised image encoders by redundancy reduction, in JAX.

    import barlow_jax as bj

    config = bj.configs.digits().replace({"train.num_epochs": 20})
    run = bj.pretrain(config, workdir="runs/digits")
    print(run.knn())
    encoder = bj.load("runs/digits")  # [B, height, width, C] images -> [B, H] features

docs/python_api.md describes the functions. Each name is imported when it is first used: `import barlow_jax`
alone imports neither jax nor TensorFlow.
"""

# ruff: noqa: F401
import importlib
from typing import TYPE_CHECKING, Any

from barlow_jax.version import __version__

if TYPE_CHECKING:  # for type checkers and editors
    from barlow_jax.api.evaluating import embed, evaluate, finetune, knn, probe, transfer
    from barlow_jax.api.run import Run, adapt, import_weights, open_run, pretrain
    from barlow_jax.api.writing import export, plan, report
    from barlow_jax.config.library import configs, load_config
    from barlow_jax.config.parts import register, register_encoder
    from barlow_jax.config.schema import Config
    from barlow_jax.errors import RunError, UserError
    from barlow_jax.experiment.callbacks import Event
    from barlow_jax.experiment.cost_estimate import CostEstimate
    from barlow_jax.experiment.embedding import Features
    from barlow_jax.experiment.own_images import config_for_images
    from barlow_jax.experiment.pretrained import Encoder, load, to_torch
    from barlow_jax.papers.scores import Evaluation, Score

_NAMES = {
    "api.evaluating": "embed evaluate finetune knn probe transfer",
    "api.run": "Run adapt import_weights open_run pretrain",
    "api.writing": "export plan report",
    "config.library": "configs load_config",
    "config.parts": "register register_encoder",
    "config.schema": "Config",
    "errors": "RunError UserError",
    "experiment.callbacks": "Event",
    "experiment.cost_estimate": "CostEstimate",
    "experiment.embedding": "Features",
    "experiment.own_images": "config_for_images",
    "experiment.pretrained": "Encoder load to_torch",
    "papers.scores": "Evaluation Score",
}
_MODULES = {name: f"barlow_jax.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'barlow_jax' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
