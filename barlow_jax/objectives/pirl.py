"""PIRL (Misra and van der Maaten 2020): an image's row of the memory bank is recognized in its jigsaw puzzle.

With the losses of `npid` against the bank, for the embedding v_b of view a, and the embedding u_b of nine
patches of view b, in random order and side by side through the joint head (equation 5):

    L = (1 - lambda) L_npid(v) + lambda L_npid(u)

The bank's rows move towards v alone, so that both embeddings come to agree with each other. As in the
official code (VISSL) the two terms sample their own negatives, and with loss=nce share the constant Z of the
first batch of patches. The patches share the statistics of each BatchNorm. The colors of view b change before
it is cut into patches; in the official code those of each patch change on their own.
"""

import dataclasses

import jax
import jax.numpy as jnp

from barlow_jax.augment.patches import cut_patches
from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import PATCHES
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.objectives import npid
from barlow_jax.types import Grouping, Objective, RunInfo


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over view a and patches of view b.

    Its memory is that of `npid`, with unit rows.

    Raises:
      UserError: If loss=nce has no negatives.
    """
    against_bank = npid.make(dataclasses.replace(config, npid=config.pirl), run_info)
    weight = config.pirl.patch_weight

    def derive(views, key):
        cells = jnp.broadcast_to(jnp.arange(len(PATCHES)), (len(views["b"]), len(PATCHES)))
        cells = jax.random.permutation(jax.random.fold_in(key, 1), cells, axis=1, independent=True)
        return {"a": views["a"]} | cut_patches(key, views["b"], cells)

    def loss(outputs, memory, context):
        patches = outputs[PATCHES[0]]
        contexts = [context._replace(key=jax.random.fold_in(context.key, number)) for number in (2, 3)]
        patches = {"a": patches._replace(embedding=patches.joint)}
        of_patches, after, patch_metrics = against_bank.loss(patches, memory, contexts[0])
        of_image, memory, metrics = against_bank.loss(outputs, after | {"bank": memory["bank"]}, contexts[1])
        value = (1 - weight) * of_image + weight * of_patches
        accuracy = patch_metrics["contrast_accuracy"]
        return value, memory, metrics | {"loss": value, "patch_accuracy": accuracy}

    def init_memory(key):
        memory = against_bank.init_memory(key)
        return memory | {"bank": unit_rows(memory["bank"])}

    return Objective(loss, grouping=Grouping(encoder="size"), init_memory=init_memory, derive=derive)
