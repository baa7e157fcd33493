"""Compares our gradient and its grad_scale with the official gradient on W processes, under shard_map.

In the official code BatchNorm is synchronized (also in the backward pass), the all-reduce of C is not
differentiated, and the gradients of all processes are averaged.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.objectives.barlow_twins import barlow_twins_loss
from barlow_jax.optim import optimizers

ROWS, WEIGHT = 32, 0.0051
AXES = ("slice", "data")


def _params():
    rng = np.random.default_rng(0)
    shapes = {"first": (6, 12), "scale": (12,), "bias": (12,), "last": (12, 10)}
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def _views():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, ROWS, 6)), jnp.float32)


def _norm(x, mean):
    centered = x - mean(x)
    return centered * jax.lax.rsqrt(mean(jnp.square(centered)) + 1e-5)


def _embed(params, x, mean):
    """Apply Linear, BatchNorm, ReLU, Linear; `mean` is over the global batch."""
    scale, bias = params["scale"][jnp.newaxis], params["bias"][jnp.newaxis]
    x = _norm(x @ params["first"], mean) * scale + bias
    return jax.nn.relu(x) @ params["last"]


def _official_gradient(params, views, num_devices):
    mesh = make_mesh(jax.devices()[:num_devices])

    def mean(x):
        return jax.lax.pmean(jnp.mean(x, axis=0, keepdims=True), AXES)

    def local_loss(params, views):
        a, b = (_norm(_embed(params, x, mean), mean) for x in views)
        own = a.T @ b / ROWS
        # The value is the sum of all processes; the gradient includes only this one's part.
        c = own + jax.lax.stop_gradient(jax.lax.psum(own, AXES) - own)
        diagonal = jnp.diagonal(c)
        squares = jnp.sum(jnp.square(c)) - jnp.sum(jnp.square(diagonal))
        return jnp.sum(jnp.square(diagonal - 1)) + WEIGHT * squares

    def process(params, views):
        return jax.lax.pmean(jax.grad(local_loss)(params, views), AXES)

    run = jax.shard_map(process, mesh=mesh, in_specs=(P(), P(None, AXES)), out_specs=P(), check_vma=False)
    return jax.device_get(jax.jit(run)(params, views))


def _our_gradient(params, views, num_devices):
    layout = Layout(make_mesh(jax.devices()[:num_devices]))

    def loss(params, *views):
        z_a, z_b = (_embed(params, x, partial(jnp.mean, axis=0, keepdims=True)) for x in views)
        return barlow_twins_loss(z_a, z_b, off_diagonal_weight=WEIGHT, reshard=layout.reshard)

    shardings = (layout.replicated, layout.batch, layout.batch)
    return jax.device_get(jax.jit(jax.grad(loss), in_shardings=shardings)(params, *views))


@pytest.fixture
def true_gradient():
    """Return the gradient of equation 1, which the official code has on one process."""
    return _official_gradient(_params(), _views(), 1)


@pytest.mark.parametrize("num_devices", [1, 2, 8])
def test_ours_is_the_true_gradient_on_any_number_of_devices(num_devices, true_gradient, relative):
    assert relative(_our_gradient(_params(), _views(), num_devices), true_gradient) < 1e-5


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_the_official_one_is_that_over_the_number_of_processes(processes, true_gradient, relative):
    official = _official_gradient(_params(), _views(), processes)
    assert relative(official, jax.tree.map(lambda g: g / processes, true_gradient)) < 1e-5


@pytest.mark.parametrize("processes", [2, 8])
@pytest.mark.parametrize("name", ["lars", "sgd"])
def test_grad_scale_gives_the_update_of_the_official_code(processes, name, true_gradient, relative):
    params, official = _params(), _official_gradient(_params(), _views(), processes)
    rates = dict.fromkeys(("weights", "biases"), lambda step: 0.3)

    def update(gradient, **kwargs):
        optimizer = optimizers.make_optimizer(config_lib.Optim(name=name, **kwargs), rates)
        return optimizer.update(gradient, optimizer.init(params), params)[0]

    expected = update(official)
    assert relative(update(true_gradient, grad_scale=1 / processes), expected) < 1e-5
    # Without it biases and BatchNorm move W times as far; LARS makes the weights' step equal.
    plain = update(true_gradient)
    assert relative(plain["bias"], jax.tree.map(lambda u: u * processes, expected["bias"])) < 1e-5
    if name == "lars":
        assert relative(plain["first"], expected["first"]) < 1e-4
    assert optax.tree.norm(plain) > optax.tree.norm(expected)
