"""Experiment: a config on a mesh of devices, with its network, data and encoder."""

import bisect
from collections.abc import Callable, Iterator, Sequence
import dataclasses
from functools import partial
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.augment.views import augment, normalize_views, reduce_views
from barlow_jax.config.method_facts import HEADS, method_facts
from barlow_jax.config.recipe import Recipe
from barlow_jax.config.schema import Config, Mesh
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, ProcessShard, Segment
from barlow_jax.distributed.mesh import Layout, choose_projector, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import encoders
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.losses.feature_anchor import with_feature_anchor
from barlow_jax.networks.encoders import layer_depths, representation_width
from barlow_jax.networks.network import Network
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import adaptation, optimizers
from barlow_jax.optim.param_groups import WEIGHTS
from barlow_jax.papers.scores import PIXELS, PRETRAINED, UNTRAINED
from barlow_jax.training.microbatches import Views
from barlow_jax.training.step import StepParts, compile_step, init_state, replace_weights
from barlow_jax.types import Batch, FeatureTable, Metrics, Reshard, RunInfo, TrainState


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Config on a mesh of devices."""

    config: Config
    layout: Layout
    network: Network
    shard: ProcessShard

    @classmethod
    def from_config(cls, config: Config, devices: Sequence[jax.Device] | None = None) -> "Experiment":
        """Return the experiment on the given devices; None = all devices of all processes."""
        mesh = make_mesh(devices, config.mesh.slices)
        settings, projector = config.network, config.mesh.projector
        if projector == "auto" and settings.head != "mlp":
            projector = "replicated"
        elif projector == "auto":
            widths = (representation_width(settings, **config.data.image), *settings.projector)
            itemsize = jnp.dtype(settings.dtype).itemsize
            projector = choose_projector(widths, config.train.batch_size, mesh.shape["data"], itemsize)
        layout = Layout(mesh, projector, config.mesh.embeddings)
        shard = ProcessShard(jax.process_index(), jax.process_count())
        one_pass = mesh.devices.flat[0].platform != "cpu"
        joint_views = method_facts(config.objective.name).joint_views
        network = Network(
            settings, layout.parallel_linear, one_pass=one_pass, joint_views=joint_views, **config.data.image
        )
        return cls(config, layout, network, shard)

    @classmethod
    def on_one_device(cls, config: Config) -> "Experiment":
        """Return the experiment on one device, for states and encoders: they do not depend on the mesh."""
        mesh = Mesh(slices=1, projector="replicated")
        return cls.from_config(dataclasses.replace(config, mesh=mesh), jax.devices()[:1])

    def sampler(self, num_images: int, segment: Segment | None = None) -> EpochSampler:
        """Return the sampler of training batches, in the segment of the run that has this config.

        Raises:
          UserError: the data set is smaller than a batch. (`validate` knows its size only if it is prepared.)
        """
        batch_size = self.config.train.batch_size
        if num_images < batch_size:
            raise UserError(
                f"config.train.batch_size is {batch_size}, but the training split has only {num_images} "
                "images. Use a smaller batch size."
            )
        return EpochSampler(self.config.seed, num_images, batch_size, segment or Segment())

    def num_steps(self, sampler: EpochSampler) -> int:
        """Return the number of updates of the complete run, at most `train.max_steps`."""
        steps = round(self.config.train.num_epochs * sampler.steps_per_epoch) - sampler.schedule_offset
        return min(steps, self.config.train.max_steps or steps)

    def learning_rates(self, sampler: EpochSampler) -> dict[str, Callable[[Any], Any]]:
        """Return each parameter group's learning rate as a function of the run's step."""
        return optimizers.learning_rates(self.config, sampler.steps_per_epoch, sampler.schedule_offset)

    def step_parts(self, sampler: EpochSampler) -> StepParts:
        """Return the components of the train step; the sampler sets the schedules' number of steps."""
        config, info = self.config, run_info(self.config, sampler, self.layout.reshard)
        objective = make_objective(config.objective, info)
        optimizer = optimizers.make_optimizer(config.optim, rates := self.learning_rates(sampler))
        if config.adapt.weights:
            adapt, peak = config.adapt, config.optim.learning_rate * config.train.batch_size / 256
            schedule = lambda step: rates[WEIGHTS](step) / peak, info.num_steps, sampler.schedule_offset
            optimizer = optax.chain(optimizer, adaptation.adapt(adapt, layer_depths, *schedule))
            if adapt.anchor == "features":
                objective = with_feature_anchor(objective, adaptation.anchor_weight(adapt), config.views)
        return StepParts(
            network=self.network,
            objective=objective,
            optimizer=optimizer,
            normalize=partial(normalize_views, recipe=config.recipe),
            augment=self.augment(config.recipe) if config.data.augment_on == "device" else None,
            seed=config.seed,
            schedule_offset=sampler.schedule_offset,
            microbatches=config.train.microbatches,
            average_decay=config.train.average_decay,
        )

    def train_step(
        self, state: TrainState, parts: StepParts, sampler: EpochSampler, first_step: int
    ) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
        """Return the step of a run from `first_step` on; with `train.image_sizes`, its program changes."""
        sizes, size = self.config.train.image_sizes, self.config.data.image_size
        if not sizes:
            return compile_step(self.layout, state, parts)
        num_steps = run_info(self.config, sampler).num_steps
        starts = [round(num_steps * i / len(sizes)) - sampler.schedule_offset for i in range(len(sizes))]

        def normalize(views: Views, scale: float) -> Views:
            return reduce_views(parts.normalize(views), scale)

        scaled = [dataclasses.replace(parts, normalize=partial(normalize, scale=s / size)) for s in sizes]
        programs = [compile_step(self.layout, state, parts) for parts in scaled]
        count = itertools.count(first_step)

        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            done = next(count)
            stage = bisect.bisect_right(starts, done) - 1
            if done in (first_step, starts[stage]):
                log.info(f"step {done}: views of {sizes[stage]} pixels")
            return programs[stage](state, batch)

        return step

    def augment(self, recipe: Recipe) -> Callable[..., dict[str, jax.Array]]:
        """Return the on-device augmentation, `decoded images -> views`."""
        return partial(augment, recipe=recipe, size=self.config.data.image_size, seed=self.config.seed)

    def init(self, sampler: EpochSampler) -> Callable[[jax.Array], TrainState]:
        """Return the jitted function `key -> TrainState`, which lays the state out on the mesh."""
        return self.jit_once(partial(init_state, parts=self.step_parts(sampler)))

    def first_state(self, sampler: EpochSampler) -> TrainState:
        """Return a run's first state: initialized, except for the encoder of `config.adapt.weights`."""
        state = self.init(sampler)(jax.random.key(self.config.seed))
        if not self.config.adapt.weights:
            return state
        encoder = self.encoder_state(Path(self.config.adapt.weights), PRETRAINED)
        replace = partial(replace_weights, parts=self.step_parts(sampler))
        shardings = self.layout.state_shardings(state)
        return jax.jit(replace, out_shardings=shardings)(state, encoder.params, encoder.batch_stats)

    def eval_batches(self, source: splits.Split, examples: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield this process's evaluation batches of a split, or of the examples with these indices."""
        size = self.config.eval_batch_size
        return source.eval_batches(self.config.data, batch_size=size, shard=self.shard, examples=examples)

    def encoder(self, path: Path, feature_source: str) -> tuple[features.Encode, int]:
        """Return the frozen encoder and its training step; -1 for pixels."""
        state = self.encoder_state(path, feature_source)
        return self.encode_with(state), state.step

    def encode_with(self, state: encoders.EncoderState) -> features.Encode:
        """Return a function from raw images to features of this encoder."""
        if state.params is None:
            return features.make_pixels(self.layout)
        return partial(self.jitted_encoder(), state.params, state.batch_stats)

    def encoder_state(
        self, path: Path, feature_source: str, network: Network | None = None
    ) -> encoders.EncoderState:
        """Return the encoder of a feature source, laid out on the mesh; without arrays for pixels.

        The path is that of a run, a checkpoint or a file; a run may also have a network with heads.
        """
        if feature_source == PIXELS:
            return encoders.EncoderState(None, None, -1)
        init = self.jit_once((network or self.encoder_network).init)
        if feature_source == UNTRAINED:
            return encoders.EncoderState(*init(jax.random.key(self.config.seed)), 0)
        abstract = jax.eval_shape(init, jax.random.key(0))
        return encoders.restore(path, self.config, abstract, self.layout)

    @property
    def encoder_network(self) -> Network:
        """Network without heads, with `{"encoder": ...}` trees."""
        network = dataclasses.replace(self.config.network, branches="shared", **HEADS)
        return dataclasses.replace(self.network, config=network, parallel=None)

    def jitted_encoder(self) -> Callable[..., jax.Array]:
        """Return `(params, batch_stats, images) -> [B, H]`, which normalizes images like view a."""
        normalization = self.config.recipe.views["a"].normalize
        return features.make_encoder(self.encoder_network, self.layout, normalization)

    def feature_tables(
        self, encode: features.Encode, data: EvaluationData | None = None
    ) -> tuple[FeatureTable, FeatureTable, dict[str, Any]]:
        """Return the features of both splits, and the entry "data" of a result (`EvaluationData.tables`)."""
        data = data or EvaluationData.open(self.config.data)
        return data.tables(lambda split: features.extract(encode, self.eval_batches(split), self.layout))

    def jit_once(self, function: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
        """Jit `key -> state` for one call: on a CPU without LLVM's passes, which would take ten seconds."""
        shardings = self.layout.state_shardings(jax.eval_shape(function, jax.random.key(0)))
        return jax.jit(function, out_shardings=shardings, compiler_options=self.fast_compilation)

    @property
    def fast_compilation(self) -> dict[str, Any] | None:
        """Options of the compiler for a program that runs once, or never."""
        return {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None


def run_info(config: Config, sampler: EpochSampler | None = None, reshard: Reshard | None = None) -> RunInfo:
    """Return the facts about a run that its objective may depend on."""
    steps_per_epoch = sampler.steps_per_epoch if sampler else 1
    return RunInfo(
        views=config.views,
        width=(0, *config.network.projector)[-1],
        batch_size=config.train.batch_size,
        num_images=sampler.num_examples if sampler else 0,
        steps_per_epoch=steps_per_epoch,
        num_steps=round(config.train.num_epochs * steps_per_epoch),
        reshard=reshard,
    )
