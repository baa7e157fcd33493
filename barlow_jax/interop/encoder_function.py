"""An encoder as a pure function of its weights and of decoded images."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import jax
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.config import overrides
from barlow_jax.config.method_facts import HEADS
from barlow_jax.interop import model_card
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.networks.network import Network

# Every export is lowered for all of these.
PLATFORMS = ("cpu", "tpu", "cuda")

Weights = Mapping[str, np.ndarray]


def weights_of(trained: TrainedEncoder) -> Weights:
    """Return parameters and running statistics by path, such as `params/encoder/stages/0/0/conv1/kernel`."""
    leaves, _ = jax.tree.flatten_with_path(_trees(trained))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def encode(trained: TrainedEncoder) -> Callable[[Weights, jax.Array], jax.Array]:
    """Return `(weights, images) -> features`: `[B, image_size, image_size, C]` to `[B, H]` float32.

    The features are those of the evaluations: images normalized like view a, computed in
    `config.network.dtype` with the running statistics.
    """
    network = dataclasses.replace(trained.config.network, branches="shared", remat=False, **HEADS)
    names, treedef = list(weights_of(trained)), jax.tree.structure(_trees(trained))
    normalization = trained.normalize

    def function(weights: Weights, images: jax.Array) -> jax.Array:
        trees = treedef.unflatten([weights[name] for name in names])
        return Network(network, **trained.config.data.image).encode(
            trees["params"], trees["batch_stats"], normalize(images, normalization)
        )

    return function


def describe(trained: TrainedEncoder, out: Path, load: Sequence[str], promise: str) -> None:
    """Write `config.json` and the model card `README.md` next to an exported function.

    `load` are lines of Python that load and call the function, with `{out}` for the folder; `promise` says
    which versions can read the export.
    """
    shape, width = ", ".join(map(str, trained.input_shape)), trained.num_features
    notes = (
        f"`images`: `[B, {shape}]` {trained.pixels}, any B; `features`: `[B, {width}]` float32. The\n"
        f"normalization is part of the function. Platforms: {', '.join(PLATFORMS)}. Computation in "
        f"{trained.config.network.dtype}. {promise}"
    )
    inside = [line.replace("{out}/", "").replace("{out}", ".") for line in load]
    files.write_json(out / "config.json", overrides.to_config_dict(trained.config).to_dict())
    files.write_text(out / "README.md", model_card.text(trained, inside, notes=[notes]))


def _trees(trained: TrainedEncoder) -> dict:
    return {"params": trained.params, "batch_stats": trained.batch_stats}
