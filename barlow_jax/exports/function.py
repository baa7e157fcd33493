"""An encoder as one pure function of its weights and of images as they were decoded."""

from collections.abc import Callable, Mapping
import dataclasses

import jax
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.exports.encoder import Trained
from barlow_jax.methods import HEADS
from barlow_jax.networks.network import Network

# Lowered for all of them, wherever it is exported.
PLATFORMS = ("cpu", "tpu", "cuda")

Weights = Mapping[str, np.ndarray]


def weights_of(trained: Trained) -> Weights:
    """Parameters and running statistics by their path: `params/encoder/stages/0/0/conv1/kernel`."""
    leaves, _ = jax.tree.flatten_with_path(_trees(trained))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def encode(trained: Trained) -> Callable[[Weights, jax.Array], jax.Array]:
    """`(weights, images) -> features`: `[B, image_size, image_size, 3]` uint8 levels to `[B, H]` float32.

    They are the features that the evaluations read: normalised by view a's row of the recipe, computed in
    `config.network.dtype`, with the running statistics.
    """
    network = dataclasses.replace(trained.config.network, branches="shared", remat=False, **HEADS)
    names, treedef = list(weights_of(trained)), jax.tree.structure(_trees(trained))
    normalization = trained.normalize

    def function(weights: Weights, images: jax.Array) -> jax.Array:
        trees = treedef.unflatten([weights[name] for name in names])
        return Network(network).encode(
            trees["params"], trees["batch_stats"], normalize(images, normalization)
        )

    return function


def _trees(trained: Trained) -> dict:
    return {"params": trained.params, "batch_stats": trained.batch_stats}
