"""Lowering of the train step, or of a part of it, for a mesh of devices that need not exist."""

from collections.abc import Callable
import dataclasses
from functools import partial
import math

import jax
import jax.numpy as jnp

from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import Config
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import Experiment, run_info
from barlow_jax.networks.encoders import representation_width
from barlow_jax.networks.network import StandInEncoder, second_branch_config
from barlow_jax.objectives.registry import make_objective
from barlow_jax.training.step import compile_step, init_state
from barlow_jax.types import Batch, LossContext, Outputs, TrainState


def lower(
    experiment: Experiment, sampler: EpochSampler, part: str
) -> tuple[jax.stages.Lowered, TrainState | None]:
    """Return the lowered program and its abstract state (shapes and shardings; None for the loss).

    The part is "step", the train step of `pretrain`; "head", from representations to the update of the
    projector; or "loss", value and gradient from `[N, D]` embeddings.

    Raises:
      UserError: the objective has no such part.
    """
    config = experiment.config
    if part != "step" and not config.network.projector:
        raise UserError(f"--part {part}: {config.objective.name} has no projector. Use --part step.")
    if part != "step" and experiment.network.joint_views:
        raise UserError(f"--part {part}: {config.objective.name} cuts patches of images. Use --part step.")
    if part == "loss":
        return jit_loss(config, experiment.layout).lower(abstract_embeddings(config)), None
    rows, parts, layout = sampler.batch_size, experiment.step_parts(sampler), experiment.layout
    sizes = {name: view.output_size(config.data.image_size) for name, view in config.recipe.views.items()}
    views = {name: _abstract_pixels(config, size) for name, size in sizes.items()}
    captions = jax.ShapeDtypeStruct((rows, config.data.caption_words), jnp.int32)
    views |= {name: captions for name in config.views if name not in views}
    if part == "head":
        network = dataclasses.replace(experiment.network, make_encoder=StandInEncoder)
        parts = dataclasses.replace(parts, network=network, normalize=dict, augment=None)
        views = {name: jax.ShapeDtypeStruct((rows, _width(config, name)), jnp.float32) for name in views}
    state = jax.eval_shape(partial(init_state, parts=parts), jax.random.key(0))
    integers = jax.ShapeDtypeStruct((rows,), jnp.int32)
    if parts.augment is not None:
        views = abstract_images(config) | {n: v for n, v in views.items() if n not in config.recipe.views}
    batch = Batch(views, labels=integers, index=integers)
    abstract = state._replace(**layout.abstract(state.nonempty_fields()))
    return compile_step(layout, abstract, parts).lower(abstract, batch), abstract


def _width(config: Config, view: str) -> int:
    """Return H of the branch that a view goes through."""
    second = second_branch_config(config.network)
    network = second if second and view == SECOND_VIEW else config.network
    return representation_width(network, **config.data.image)


def abstract_images(config: Config) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of a batch of decoded images (`barlow_jax.data.padded_images`)."""
    rows = config.train.batch_size
    return {
        CANVAS: _abstract_pixels(config, config.data.canvas),
        SHAPE: jax.ShapeDtypeStruct((rows, 2), jnp.int32),
        POSITION: jax.ShapeDtypeStruct((rows,), jnp.uint32),
    }


def _abstract_pixels(config: Config, size: int) -> jax.ShapeDtypeStruct:
    shape = (config.train.batch_size, size, size, config.data.channels)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(config.data.pixel_dtype))


def abstract_embeddings(config: Config) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the embeddings, `[N, D]` for each view."""
    shape = (config.train.batch_size, config.network.projector[-1])
    return dict.fromkeys(config.views, jax.ShapeDtypeStruct(shape, jnp.dtype(config.network.dtype)))


def jit_loss(config: Config, layout: Layout) -> Callable:
    """Return the jitted function `embeddings -> (loss, gradients)`; both trees are split by rows.

    Raises:
      UserError: the loss depends on more than embeddings.
    """
    objective = make_objective(config.objective, run_info(config, reshard=layout.reshard))
    has_memory = jax.eval_shape(objective.init_memory, jax.random.key(0))
    reads_more = objective.target or objective.derive or has_memory or config.network.prototypes
    if reads_more or not config.network.projector:
        raise UserError(
            f"The loss of {config.objective.name} depends on more than embeddings. Use --part step."
        )
    context = LossContext(jnp.zeros([config.train.batch_size], jnp.int32), key=jax.random.key(0))

    def loss(embeddings):
        empty = jnp.zeros([config.train.batch_size, 0])
        outputs = {name: Outputs(empty, z) for name, z in embeddings.items()}
        return objective.loss(outputs, {}, context)[0]

    return jax.jit(
        jax.value_and_grad(loss), in_shardings=layout.batch, out_shardings=(layout.replicated, layout.batch)
    )


def memory(compiled: jax.stages.Compiled) -> int:
    """Return the largest number of bytes that a compiled program needs at once on a device."""
    analysis = compiled.memory_analysis()
    live = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    # On CPUs XLA's peak leaves out the temporaries.
    return max(analysis.peak_memory_in_bytes, live - analysis.alias_size_in_bytes)


def bytes_per_device(tree: object) -> int:
    """Return the bytes per device of a tree of arrays, or of shapes with shardings."""
    return sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(tree)
    )
