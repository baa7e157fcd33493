"""What every program needs of a config: the mesh, the network, the data, the encoder at rest."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from functools import partial
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.views import augment, normalize_views
from barlow_jax.config.methods import HEADS
from barlow_jax.config.recipe import Recipe
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard
from barlow_jax.distributed.mesh import Layout, choose_projector, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.experiment import encoders
from barlow_jax.networks.encoders import representation_width
from barlow_jax.networks.network import Network
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.papers.scores import PIXELS, UNTRAINED
from barlow_jax.training.step import StepParts, init_state
from barlow_jax.types import Batch, FeatureTable, Reshard, RunInfo, TrainState


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config on the devices of this machine."""

    config: Config
    layout: Layout
    network: Network
    shard: ProcessShard

    @classmethod
    def of(cls, config: Config, devices: Sequence[jax.Device] | None = None) -> "Experiment":
        """On the given devices, or on all of all processes."""
        mesh = make_mesh(devices, config.mesh.slices)
        projector = config.mesh.projector
        if projector == "auto":
            network = config.network
            projector = choose_projector(
                (representation_width(network), *network.projector),
                config.train.batch_size,
                mesh.shape["data"],
                jnp.dtype(network.dtype).itemsize,
            )
        layout = Layout(mesh, projector, config.mesh.embeddings)
        shard = ProcessShard(jax.process_index(), jax.process_count())
        return cls(config, layout, Network(config.network, layout.parallel_linear), shard)

    def sampler(self, num_images: int) -> EpochSampler:
        batch_size = self.config.train.batch_size
        if num_images < batch_size:  # known to validate() only where the data set was prepared before
            raise UserError(
                f"config.train.batch_size: {num_images} images are fewer than one batch of {batch_size}"
            )
        return EpochSampler(self.config.seed, num_images, batch_size)

    def num_steps(self, sampler: EpochSampler) -> int:
        """Updates of the whole schedule, cut at `train.max_steps`."""
        steps = round(self.config.train.num_epochs * sampler.steps_per_epoch)
        return min(steps, self.config.train.max_steps or steps)

    def step_parts(self, sampler: EpochSampler) -> StepParts:
        """Return the components of the train step; the sampler sets the schedules' number of steps."""
        config, info = self.config, run_info(self.config, sampler.steps_per_epoch, self.layout.reshard)
        return StepParts(
            network=self.network,
            objective=make_objective(config.objective, info),
            optimizer=optimizers.make_optimizer(
                config.optim, optimizers.learning_rates(config, sampler.steps_per_epoch)
            ),
            normalize=partial(normalize_views, recipe=config.recipe),
            augment=self.augment(config.recipe) if config.data.augment_on == "device" else None,
            seed=config.seed,
            microbatches=config.train.microbatches,
        )

    def augment(self, recipe: Recipe) -> Callable[..., dict[str, jax.Array]]:
        """`decoded images -> views`, the accelerator's."""
        return partial(augment, recipe=recipe, size=self.config.data.image_size, seed=self.config.seed)

    def init(self, sampler: EpochSampler) -> Callable[[jax.Array], TrainState]:
        """The jitted `key -> TrainState`, laid out on the mesh."""
        return self.run_once(partial(init_state, parts=self.step_parts(sampler)))

    def eval_batches(self, source: splits.Split, examples: np.ndarray | None = None) -> Iterator[Batch]:
        batch_size = self.config.eval_batch_size
        return source.eval_batches(
            self.config.data, batch_size=batch_size, shard=self.shard, examples=examples
        )

    def encoder(self, place: pathlib.Path, kind: str) -> tuple[features.Encode, int]:
        """The frozen encoder and the step it is from; -1 for pixels, which have none."""
        if kind == PIXELS:
            return features.make_pixels(self.layout), -1
        state = self.encoder_state(place, kind)
        return self.encode_by(state), state.step

    def encode_by(self, state: encoders.EncoderState) -> features.Encode:
        """Of raw images, by this encoder."""
        return partial(self.jitted_encoder(), state.params, state.batch_stats)

    def encoder_state(self, place: pathlib.Path, kind: str) -> encoders.EncoderState:
        """The encoder of a run, a checkpoint or a file, or the one before training; laid out on the mesh."""
        init = self.run_once(self.headless.init)
        if kind == UNTRAINED:
            return encoders.EncoderState(*init(jax.random.key(self.config.seed)), 0)
        abstract = jax.eval_shape(init, jax.random.key(0))
        return encoders.restore(place, self.config.network, abstract, self.layout)

    @property
    def headless(self) -> Network:
        """The encoder alone: `{"encoder": ...}` trees."""
        return Network(dataclasses.replace(self.config.network, branches="shared", **HEADS))

    def jitted_encoder(self) -> Callable[..., jax.Array]:
        """`(params, batch_stats, images) -> [B, H]`; evaluation images are normalised like view a's."""
        normalization = self.config.recipe.views["a"].normalize
        return features.make_encoder(self.headless, self.layout, normalization)

    def tables(self, encode: features.Encode) -> tuple[FeatureTable, FeatureTable]:
        """Features of the training and of the evaluation split, of all images that can be decoded."""
        data = self.config.data
        return self._table(encode, data.train_split), self._table(encode, data.eval_split)

    def _table(self, encode: features.Encode, split: str) -> FeatureTable:
        source = splits.open_split(self.config.data, split)
        table = features.extract(encode, self.eval_batches(source), self.layout)
        return table._replace(decode_failures=source.num_examples - len(table.index))

    def run_once(self, function: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
        """`key -> state`, jitted for one call: on a CPU, LLVM's passes over the random numbers would take ten seconds."""
        fast = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        shardings = self.layout.state_shardings(jax.eval_shape(function, jax.random.key(0)))
        return jax.jit(function, out_shardings=shardings, compiler_options=fast)


def run_info(config: Config, steps_per_epoch: int = 1, reshard: Reshard | None = None) -> RunInfo:
    """What the method is told of the run."""
    return RunInfo(
        views=config.views,
        width=(0, *config.network.projector)[-1],
        batch_size=config.train.batch_size,
        steps_per_epoch=steps_per_epoch,
        num_steps=round(config.train.num_epochs * steps_per_epoch),
        reshard=reshard,
    )
