"""Views in one pass through the network against a pass per view, as an encoder with `nnx.BatchNorm` takes."""

from dataclasses import replace
from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.networks.batch_norm import BatchNorm
from barlow_jax.networks.network import Network
from barlow_jax.types import Grouping

IMAGES, VIEWS = 16, 3


def _normalized(norm, x):
    """Normalize `[B, V, T, ...]`: all views at once, or by `nnx.BatchNorm` one after the other."""
    if isinstance(norm, BatchNorm):
        norm.batch = x.shape[:2]
        return norm(x.reshape(-1, *x.shape[3:]), use_running_average=False).reshape(x.shape)
    rows = [x[:, view].reshape(-1, *x.shape[3:]) for view in range(VIEWS)]
    parts = [norm(part, use_running_average=False).reshape(IMAGES, *x.shape[2:]) for part in rows]
    return jnp.stack(parts, axis=1)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 4), {"use_scale": False, "use_bias": False}),
        ((7, 4), {}),  # rows are [B V T, C]: positions merged into the first axis
        ((1, 3, 5, 4), {}),
        ((1, 4, 3, 5), {"axis": 1}),
        ((1, 3, 5, 4), {"dtype": jnp.bfloat16}),
    ],
)
def test_every_view_has_the_statistics_of_its_own_pass(shape, settings, fast, relative):
    rng = np.random.default_rng(0)
    x, weights = (rng.normal(size=(IMAGES, VIEWS, *shape)).astype(np.float32) for _ in range(2))
    x += np.float32(0.3) * np.arange(VIEWS, dtype=np.float32).reshape(-1, *[1] * len(shape))

    def run(kind):
        norm = kind(4, use_fast_variance=fast, **settings, rngs=nnx.Rngs(0))
        graph = nnx.graphdef(norm)
        params, stats = (nnx.to_pure_dict(nnx.state(norm, type_)) for type_ in (nnx.Param, nnx.BatchStat))

        def loss(params, x):
            norm = nnx.merge(graph, params, stats)
            y = _normalized(norm, x)
            new_stats = nnx.to_pure_dict(nnx.state(norm, nnx.BatchStat))
            return jnp.sum(jnp.sin(y.astype(jnp.float32)) * weights), (y, new_stats)

        return jax.device_get(jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x))

    ((_, (y, stats)), gradients), ((_, (y_1, stats_1)), gradients_1) = run(BatchNorm), run(nnx.BatchNorm)
    assert y.dtype == y_1.dtype and relative(stats, stats_1) < 1e-6
    tolerance = 1e-6 if y.dtype == jnp.float32 else 2**-8  # bfloat16 has 8 bits
    assert relative(y, y_1) < tolerance and relative(gradients, gradients_1) < tolerance


class Encoder(nnx.Module):
    """Encoder of a user: one convolution and a BatchNorm, the factory's or flax's own."""

    def __init__(self, config, norm, rngs, *, channels, own_norm=None, **image):
        self.conv = nnx.Conv(channels, 256, (3, 3), (2, 2), rngs=rngs)
        self.norm = (own_norm or norm)(256, rngs=rngs)

    def __call__(self, x, *, train):
        return jnp.mean(nnx.relu(self.norm(self.conv(x), use_running_average=not train)), (1, 2))


CONFIG = NetworkConfig(encoder="resnet8", width=64, projector=(16, 8), predictor=(8, 8), dtype="float32")
IN_ONE_PASS = Network(CONFIG, make_encoder=Encoder)
BY_VIEW = Network(
    CONFIG, make_encoder=partial(Encoder, own_norm=partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5))
)


def _gradients(network, params, stats, views, grouping):
    """Return loss, gradients and running statistics."""

    def loss(params):
        outputs, new_stats = network.apply(params, stats, views, grouping)
        leaves = jax.tree.leaves(outputs)
        factors = [np.random.default_rng(i).normal(size=leaf.shape) for i, leaf in enumerate(leaves)]
        return sum(jnp.sum(leaf * f) for leaf, f in zip(leaves, factors, strict=True)), new_stats

    (value, new_stats), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return value, gradients, new_stats


def _views(sizes):
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=(IMAGES, s, s, 3)).astype(np.float32) for n, s in sizes.items()}


# Convolutions of a forward pass: here, and with one pass per view.
@pytest.mark.parametrize(
    ("grouping", "passes"),
    [
        (Grouping(), (3, 5)),  # a and b, c, d and e
        (Grouping("view", "together"), (3, 5)),
        pytest.param(Grouping("size", "together"), (2, 2), marks=pytest.mark.slow),
        pytest.param(Grouping("size", "view"), (2, 2), marks=pytest.mark.slow),
    ],
)
def test_one_pass_gives_loss_gradients_and_running_statistics_of_a_pass_per_view(grouping, passes, relative):
    views = _views({"a": 8, "b": 8, "c": 4, "d": 8, "e": 8})
    results = []
    for network, number in zip((IN_ONE_PASS, BY_VIEW), passes, strict=True):
        params, stats = network.init(jax.random.key(0))
        forward = jax.make_jaxpr(partial(network.apply, grouping=grouping))(params, stats, views)
        assert str(forward).count("conv_general_dilated[") == number
        apart = jax.make_jaxpr(partial(replace(network, one_pass=False).apply, grouping=grouping))
        assert str(apart(params, stats, views)).count("conv_general_dilated[") == passes[1]
        results.append(
            jax.device_get(jax.jit(partial(_gradients, network, grouping=grouping))(params, stats, views))
        )
    for actual, expected in zip(*results, strict=True):
        assert relative(actual, expected) < 1e-6


@pytest.mark.parametrize("projector", ["replicated", "sharded"])
def test_rows_of_both_views_stay_on_their_device(projector, relative):
    layouts = Layout(make_mesh(), projector), Layout(make_mesh(jax.devices()[:1]))
    views, results = _views({"a": 8, "b": 8}), []
    for layout in layouts:
        network = Network(CONFIG, layout.parallel_linear, make_encoder=Encoder)
        params, stats = network.init(jax.random.key(0))
        compute = jax.jit(partial(_gradients, network, grouping=Grouping()))
        args = params, stats, jax.device_put(views, layout.batch)
        text = compute.lower(*args).compile().as_text()
        assert "all-to-all" not in text and "collective-permute" not in text
        results.append(jax.device_get(compute(*args)))
    for actual, expected in zip(*results, strict=True):
        assert relative(actual, expected) < 1e-5
