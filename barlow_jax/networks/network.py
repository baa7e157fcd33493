"""An encoder with its heads as pure functions of their arrays."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import HEADS
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.networks import encoders
from barlow_jax.networks.heads import Classifier, Projector, Prototypes
from barlow_jax.types import Grouping, Outputs, ParallelLinear


class Factors(nnx.Module):
    """In an encoder's place, where only what comes after it is of interest: `[B, H]` representations are the
    images, and one factor a feature has the gradient go on to where it would."""

    def __init__(self, config: config_lib.Network, norm: Any, rngs: nnx.Rngs):
        del norm, rngs
        self.factors = nnx.Param(jnp.ones(encoders.width_of(config)))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        return x * self.factors[...]


def second_of(config: config_lib.Network) -> config_lib.Network | None:
    """Of the second branch by itself; None where there is one branch."""
    if config.branches != "own":
        return None
    encoder = config.second_encoder or config.encoder
    return dataclasses.replace(config, branches="shared", second_encoder=None, encoder=encoder)


class Siamese(nnx.Module):
    """The encoder and the heads that its config names: the branch of all views, or, with a second one, of all but b."""

    def __init__(
        self, config: config_lib.Network, make_encoder: Any, parallel: ParallelLinear | None, rngs: nnx.Rngs
    ):
        dtype = jnp.dtype(config.dtype)
        norm = partial(
            nnx.BatchNorm, momentum=config.batch_norm_momentum, epsilon=config.batch_norm_epsilon, dtype=dtype
        )
        self.encoder = make_encoder(config, norm, rngs)
        head = partial(
            Projector,
            batch_norm=config.projector_batch_norm,
            biases=config.projector_biases,
            dtype=dtype,
            # E[x^2] - E[x]^2 cancels where a feature's mean is large against its deviation.
            norm=partial(norm, use_fast_variance=False),
            rngs=rngs,
        )
        inputs, widths, more = encoders.width_of(config), config.projector, config.predictor
        output_norm = config.projector_output_norm
        self.projector = head(inputs, widths, output_norm=output_norm, parallel=parallel) if widths else None
        self.predictor = head(widths[-1], more) if widths and more else None
        self.prototypes = Prototypes(widths[-1], config.prototypes, rngs=rngs) if config.prototypes else None
        self.classifier = Classifier(inputs, config.num_classes, rngs=rngs) if config.num_classes else None
        other = second_of(config)
        self.second = Siamese(other, make_encoder, parallel, rngs) if other else None

    def __call__(self, views: Mapping[str, jax.Array], grouping: Grouping) -> dict[str, Outputs]:
        """All views in training mode."""
        if self.second is not None and SECOND_VIEW in views:
            others = {name: images for name, images in views.items() if name != SECOND_VIEW}
            outputs = self(others, grouping) if others else {}
            return outputs | self.second({SECOND_VIEW: views[SECOND_VIEW]}, grouping)
        sizes = {name: images.shape[1] for name, images in views.items()}
        representations, outputs = {}, {}
        for names in grouping.of_encoder(sizes):
            made = self.encoder(_together([views[name] for name in names]), train=True)
            representations |= _apart(made, names)
        for names in grouping.of_heads(sizes):
            made = self._heads(_together([representations[name] for name in names]))
            outputs |= _apart(made, names)
        return outputs

    def _heads(self, representation: jax.Array) -> Outputs:
        embedding = self.projector and self.projector(representation, train=True)
        return Outputs(
            representation,
            embedding,
            prediction=self.predictor and self.predictor(embedding, train=True),
            logits=self.classifier and self.classifier(representation),
            scores=self.prototypes and self.prototypes(embedding),
        )


def _together(parts: Sequence[jax.Array]) -> jax.Array:
    """V arrays `[B, ...]` to `[B V, ...]`: image by image, so that rows stay on their devices."""
    return parts[0] if len(parts) == 1 else jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _apart(rows: Any, names: Sequence[str]) -> dict[str, Any]:
    """The inverse of `_together`, of each array of a tree."""
    if len(names) == 1:
        return {names[0]: rows}
    each = jax.tree.map(lambda x: x.reshape(-1, len(names), *x.shape[1:]), rows)
    return {name: jax.tree.map(lambda x, i=i: x[:, i], each) for i, name in enumerate(names)}


@dataclasses.dataclass(frozen=True)
class Network:
    """`init` makes the arrays, the others use them; nothing is kept in between."""

    config: config_lib.Network
    parallel: ParallelLinear | None = None  # of the projector, where the mesh shards it
    make_encoder: Callable[[config_lib.Network, Any, nnx.Rngs], nnx.Module] = encoders.make

    @functools.cached_property
    def _graph(self) -> Any:
        return nnx.graphdef(nnx.eval_shape(lambda: self._module(nnx.Rngs(0))))

    def _module(self, rngs: nnx.Rngs) -> Siamese:
        return Siamese(self.config, self.make_encoder, self.parallel, rngs)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Parameters and running statistics as nested dicts of float32 arrays."""
        module = self._module(nnx.Rngs(key))
        return tuple(nnx.to_pure_dict(nnx.state(module, kind)) for kind in (nnx.Param, nnx.BatchStat))

    def shapes(self) -> tuple[Any, Any]:
        """What `init` makes, in shapes and dtypes."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def apply(
        self, params: Any, batch_stats: Any, views: Mapping[str, jax.Array], grouping: Grouping = Grouping()
    ) -> tuple[dict[str, Outputs], Any]:
        """Training mode: `[B, height, width, 3]` images (of captions `[B, T]` word ids) by view to Outputs by view, and
        the new statistics.

        BatchNorm sees the whole (global) batch of the views that `grouping` puts together, of one alone by default.
        """
        module = nnx.merge(self._graph, params, batch_stats)
        outputs = module(views, grouping)
        return outputs, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    def embed(self, params: Any, batch_stats: Any, representations: jax.Array) -> jax.Array:
        """The frozen projector: `[B, H]` representations to `[B, D]` embeddings, running statistics."""
        return nnx.merge(self._graph, params, batch_stats).projector(representations, train=False)

    def apply_frozen(self, params: Any, batch_stats: Any, name: str, view: jax.Array) -> Outputs:
        """The frozen encoder and, where there is one, projector of the view's branch, running statistics: representation
        and embedding."""
        module = nnx.merge(self._graph, params, batch_stats)
        branch = module if module.second is None or name != SECOND_VIEW else module.second
        representation = branch.encoder(view, train=False)
        return Outputs(representation, branch.projector and branch.projector(representation, train=False))

    @property
    def target(self) -> "Network":
        """What a target network has: encoder and projector."""
        heads = HEADS | {"projector": self.config.projector}
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **heads))

    def part_of(self, tree: Any) -> Any:
        """Of parameters or statistics of a network that has more heads, those of this one."""
        module = nnx.eval_shape(lambda: self._module(nnx.Rngs(0)))
        return {name: part for name, part in tree.items() if getattr(module, name, None) is not None}

    def prototypes_of(self, params: Any) -> jax.Array | None:
        """`[D, K]`, or None."""
        return params["prototypes"]["vectors"] if self.config.prototypes else None

    def encode(self, params: Any, batch_stats: Any, images: jax.Array) -> jax.Array:
        """The frozen encoder: `[B, height, width, 3]` images to `[B, H]` float32, running statistics."""
        return nnx.merge(self._graph, params, batch_stats).encoder(images, train=False)
