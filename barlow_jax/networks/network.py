"""Network: an encoder with its heads, as pure functions of parameters and running statistics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from functools import partial
import itertools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.config.method_facts import HEADS
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.errors import UserError
from barlow_jax.networks import encoders, own
from barlow_jax.networks.batch_norm import BatchNorm
from barlow_jax.networks.heads import Classifier, Projector, Prototypes
from barlow_jax.types import Grouping, Outputs, ParallelLinear


class StandInEncoder(nnx.Module):
    """Stand-in encoder for compiling the heads alone.

    Takes `[B, H]` features and scales each by a trainable factor, so that gradients still reach the encoder's
    position.
    """

    def __init__(self, config: config_lib.Network, norm: Any, rngs: nnx.Rngs, **image: int):
        """Initialize the factors; the signature is that of `make_encoder`."""
        del norm, rngs
        self.factors = nnx.Param(jnp.ones(encoders.representation_width(config, **image)))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Scale `[B, H]` features."""
        del train
        return x * self.factors[...][jnp.newaxis]


def second_branch_config(config: config_lib.Network) -> config_lib.Network | None:
    """Return the config of the second branch; None if all views share one branch."""
    if config.branches != "own":
        return None
    encoder = config.second_encoder or config.encoder
    return dataclasses.replace(config, branches="shared", second_encoder=None, encoder=encoder)


def own_problems(config: config_lib.Config) -> Iterator[str]:
    """Yield what is wrong with encoders and heads of the user's own, which are traced at the views' sizes."""
    image = config.data.image
    sizes = {view.output_size(config.data.image_size) for view in config.recipe.views.values()}
    try:
        for network in filter(None, (config.network, second_branch_config(config.network))):
            inputs = encoders.representation_width(network, **image)
            for size in sorted(sizes):
                if (width := encoders.representation_width(network, **image, view_size=size)) != inputs:
                    yield (
                        f"The encoder {network.encoder} returns {width} features of views of {size} pixels, "
                        f"not {inputs}."
                    )
            heads = (network.projector, network.predictor) if network.head != "mlp" else ()
            for widths in filter(None, heads):
                kwargs = {"inputs": inputs, "widths": widths, "dtype": jnp.dtype(network.dtype)}
                if (width := own.output_width("head", network.head, (inputs,), **kwargs)) != widths[-1]:
                    yield (
                        f"The head {network.head} returns {width} features, but must return {widths[-1]}, "
                        "the last of its widths."
                    )
                inputs = widths[-1]
    except UserError as error:
        yield str(error)


class Siamese(nnx.Module):
    """Encoder and heads of all views, or, if view b has a branch of its own (`second`), of all others."""

    def __init__(self, config: config_lib.Network, network: "Network", rngs: nnx.Rngs):
        """Build the encoder, the heads and the second branch that the config names."""
        image = {"channels": network.channels, "image_size": network.image_size}
        dtype = jnp.dtype(config.dtype)
        norm = partial(
            BatchNorm, momentum=config.batch_norm_momentum, epsilon=config.batch_norm_epsilon, dtype=dtype
        )
        self.encoder = network.make_encoder(config, norm, rngs, **image)
        mlp = partial(
            Projector,
            batch_norm=config.projector_batch_norm,
            biases=config.projector_biases,
            dtype=dtype,
            # E[x^2] - E[x]^2 cancels if a feature's mean is large relative to its std.
            norm=partial(norm, use_fast_variance=False),
            rngs=rngs,
        )

        def head(inputs: int, widths: Sequence[int], **settings: Any) -> nnx.Module:
            if config.head == "mlp":
                return mlp(inputs, widths, **settings)
            return own.OwnModule("head", config.head, rngs, inputs=inputs, widths=widths, dtype=dtype)

        inputs, widths = encoders.representation_width(config, **image), config.projector
        output_norm = config.projector_output_norm
        self.projector = (
            head(inputs, widths, output_norm=output_norm, parallel=network.parallel) if widths else None
        )
        self.predictor = head(widths[-1], config.predictor) if widths and config.predictor else None
        self.prototypes = Prototypes(widths[-1], config.prototypes, rngs=rngs) if config.prototypes else None
        self.classifier = Classifier(inputs, config.num_classes, rngs=rngs) if config.num_classes else None
        *each, joint = config.joint_head or (0,)
        self.joint_views = network.joint_views if joint else ()
        self.joint_mlp = mlp(inputs, each) if each else None
        side_by_side = len(self.joint_views) * (inputs, *each)[-1]
        self.joint_head = mlp(side_by_side, (joint,)) if joint else None
        second = second_branch_config(config)
        self.second = Siamese(second, network, rngs) if second else None

    def __call__(
        self, views: Mapping[str, jax.Array], grouping: Grouping, one_pass: bool
    ) -> dict[str, Outputs]:
        """Return the outputs of each view in training mode."""
        if self.second is not None and SECOND_VIEW in views:
            first = {name: images for name, images in views.items() if name != SECOND_VIEW}
            outputs = self(first, grouping, one_pass) if first else {}
            return outputs | self.second({SECOND_VIEW: views[SECOND_VIEW]}, grouping, one_pass)
        sizes = {name: images.shape[1] for name, images in views.items()}
        encode = partial(self.encoder, train=True)
        representations = {}
        for _, groups in itertools.groupby(grouping.encoder_groups(sizes), lambda names: sizes[names[0]]):
            representations |= _by_view(self.encoder, encode, views, list(groups), one_pass)
        joint = [name for name in self.joint_views if name in views]
        outputs = {name: Outputs(representations[name]) for name in joint}
        if joint:
            outputs[joint[0]] = self._apply_joint_head(representations, joint)
        if rest := {name: size for name, size in sizes.items() if name not in joint}:
            groups = grouping.head_groups(rest)
            outputs |= _by_view(self, self._apply_heads, representations, groups, one_pass)
        return outputs

    def _apply_joint_head(self, representations: Mapping[str, jax.Array], names: Sequence[str]) -> Outputs:
        """Return the outputs of the first of the named views, which share the MLP's batch statistics."""
        parts = {name: representations[name] for name in names}
        if self.joint_mlp is not None:
            parts = _by_view(self.joint_mlp, partial(self.joint_mlp, train=True), parts, [names], True)
        joint = self.joint_head(jnp.concatenate([parts[name] for name in names], axis=1), train=True)
        return Outputs(representations[names[0]], joint=joint)

    def _apply_heads(self, representation: jax.Array) -> Outputs:
        embedding = self.projector and self.projector(representation, train=True)
        return Outputs(
            representation,
            embedding,
            prediction=self.predictor and self.predictor(embedding, train=True),
            logits=self.classifier and self.classifier(representation),
            scores=self.prototypes and self.prototypes(embedding),
        )


def _by_view(
    module: nnx.Module,
    apply: Callable[[jax.Array], Any],
    views: Mapping[str, jax.Array],
    groups: Sequence[Sequence[str]],
    one_pass: bool,
) -> dict[str, Any]:
    """Apply a module to views of one shape, each group of which has batch statistics of its own.

    A module with running statistics outside `BatchNorm`, as an encoder with `nnx.BatchNorm` has them, cannot
    tell views apart: it takes one pass per group.
    """
    own = sum(isinstance(layer, BatchNorm) for _, layer in nnx.iter_modules(module))
    one_pass = one_pass and len(jax.tree.leaves(nnx.state(module, nnx.BatchStat))) == 2 * own
    outputs = {}
    for part in [groups] if one_pass else [[names] for names in groups]:
        names = [name for group in part for name in group]
        batch = len(views[names[0]]), len(part)
        module.set_attributes(BatchNorm, batch=batch, raise_if_not_found=False)
        outputs |= _split(apply(_merge([views[name] for name in names])), names)
    return outputs


def _merge(parts: Sequence[jax.Array]) -> jax.Array:
    """Interleave V arrays `[B, ...]` to `[B V, ...]` image by image, so that rows stay on their devices."""
    return parts[0] if len(parts) == 1 else jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _split(rows: Any, names: Sequence[str]) -> dict[str, Any]:
    """Invert `_merge` for each array of a tree, and return the trees by view."""
    if len(names) == 1:
        return {names[0]: rows}
    by_image = jax.tree.map(lambda x: x.reshape(-1, len(names), *x.shape[1:]), rows)
    return {name: jax.tree.map(lambda x, i=i: x[:, i], by_image) for i, name in enumerate(names)}


@dataclasses.dataclass(frozen=True)
class Network:
    """Pure functions of an encoder with its heads: `init` creates the arrays, all others take them."""

    config: config_lib.Network
    parallel: ParallelLinear | None = None  # the projector's layers, if the mesh shards them
    make_encoder: Callable[..., nnx.Module] = encoders.make_encoder
    channels: int = 3  # C, of the images
    # Training sends all views of one size through the network together: half the kernels and collectives. On
    # CPUs, a pass per view takes 0.8 of that time (resnet8, 128 images of 24 pixels): more of it is cached.
    one_pass: bool = True
    image_size: int = 224  # their side in evaluations
    joint_views: tuple[str, ...] = ()  # views that go through the joint head, side by side, and no other head

    @functools.cached_property
    def _graph(self) -> Any:
        return nnx.graphdef(nnx.eval_shape(lambda: self._module(nnx.Rngs(0))))

    def _module(self, rngs: nnx.Rngs) -> Siamese:
        return Siamese(self.config, self, rngs)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Return new parameters and running statistics as nested dicts of float32 arrays."""
        module = self._module(nnx.Rngs(key))
        return tuple(nnx.to_pure_dict(nnx.state(module, type_)) for type_ in (nnx.Param, nnx.BatchStat))

    def shapes(self) -> tuple[Any, Any]:
        """Return the shapes and dtypes of the arrays that `init` creates."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def apply(
        self, params: Any, batch_stats: Any, views: Mapping[str, jax.Array], grouping: Grouping = Grouping()
    ) -> tuple[dict[str, Outputs], Any]:
        """Return the Outputs by view in training mode, and the new running statistics.

        BatchNorm normalizes over the whole (global) batch of each group of views.

        Args:
          params: Parameters.
          batch_stats: Running statistics.
          views: `[B, height, width, C]` images, or `[B, T]` word ids of captions, by view.
          grouping: Groups of views that share batch statistics; by default each view is its own group.
        """
        module = nnx.merge(self._graph, params, batch_stats)
        outputs = module(views, grouping, self.one_pass)
        return outputs, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    def embed(self, params: Any, batch_stats: Any, representations: jax.Array) -> jax.Array:
        """Apply the frozen projector to `[B, H]` representations; returns `[B, D]` embeddings."""
        return nnx.merge(self._graph, params, batch_stats).projector(representations, train=False)

    def apply_frozen(self, params: Any, batch_stats: Any, name: str, view: jax.Array) -> Outputs:
        """Return a view's representation and embedding from its branch's frozen encoder and projector."""
        module = nnx.merge(self._graph, params, batch_stats)
        branch = module if module.second is None or name != SECOND_VIEW else module.second
        representation = branch.encoder(view, train=False)
        return Outputs(representation, branch.projector and branch.projector(representation, train=False))

    @property
    def target_network(self) -> "Network":
        """The part of this network that a target network copies: encoder and projector."""
        heads = HEADS | {"projector": self.config.projector}
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **heads))

    def select(self, tree: Any) -> Any:
        """Select this network's parameters or statistics from those of a network with more heads."""
        module = nnx.eval_shape(lambda: self._module(nnx.Rngs(0)))
        return {name: part for name, part in tree.items() if getattr(module, name, None) is not None}

    def prototypes(self, params: Any) -> jax.Array | None:
        """Return the `[D, K]` prototypes; None if the network has none."""
        return params["prototypes"]["vectors"] if self.config.prototypes else None

    def encode(self, params: Any, batch_stats: Any, images: jax.Array) -> jax.Array:
        """Apply the frozen encoder to `[B, height, width, C]` images; returns `[B, H]` float32."""
        return nnx.merge(self._graph, params, batch_stats).encoder(images, train=False)
