"""Gradients in microbatches against plain autodiff of the whole batch, and the memory that they save."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.networks.network import Network
from barlow_jax.objectives.registry import make_objective
from barlow_jax.training import microbatches
from barlow_jax.types import LossContext, Outputs

ROWS, MICROBATCHES = 64, 4
CONTEXT = LossContext(jnp.zeros([ROWS], jnp.int32))


@pytest.fixture
def parts(small_config, typed):
    config = typed(small_config)
    network = Network(config.network)
    params, stats = jax.jit(network.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    views = {name: rng.normal(size=(ROWS, 8, 8, 3)).astype(np.float32) for name in "ab"}

    objective = make_objective(config.objective)

    def loss(outputs):
        value, _, metrics = objective.loss(outputs, {}, CONTEXT)
        return value, metrics

    return params, stats, views, network.apply, loss


def _gradients(params, stats, views, apply, loss, forward=microbatches.forward, **kwargs):
    """Return gradients, running statistics and metrics, each view in a pass of its own."""
    passes = [{name: images} for name, images in views.items()]

    def total(params):
        outputs, new_stats = forward(params, stats, passes, apply=apply, **kwargs)
        value, metrics = loss(outputs)
        return value, (new_stats, metrics)

    gradients, (new_stats, metrics) = jax.grad(total, has_aux=True)(params)
    return gradients, new_stats, metrics


def _oracle(params, stats, views, apply, loss_of):
    """Differentiate one graph over all microbatches, each with every fourth row."""

    def pass_in_microbatches(params, stats, name, images):
        def microbatch(stats, rows):
            out, stats = apply(params, stats, {name: rows})
            return stats, out[name].embedding

        # Row i of microbatch k is row i * MICROBATCHES + k of the batch.
        by_microbatch = jnp.swapaxes(images.reshape(-1, MICROBATCHES, *images.shape[1:]), 0, 1)
        stats, embeddings = jax.lax.scan(microbatch, stats, by_microbatch)
        return stats, jnp.swapaxes(embeddings, 0, 1).reshape(ROWS, -1)

    def loss(params):
        outputs, current = {}, stats
        for name, images in views.items():
            current, embeddings = pass_in_microbatches(params, current, name, images)
            outputs[name] = Outputs(jnp.zeros([ROWS, 1]), embeddings)
        value, metrics = loss_of(outputs)
        return value, (current, metrics)

    gradients, (stats, metrics) = jax.grad(loss, has_aux=True)(params)
    return gradients, stats, metrics


@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_microbatches_give_the_gradient_of_the_loss_of_the_batch(parts, relative, number):
    params, stats, views, *rest = parts
    expected = jax.device_get(jax.jit(lambda p, s, v: _oracle(p, s, v, *rest))(params, stats, views))
    placed = jax.device_put(views, Layout(make_mesh(jax.devices()[:number])).batch)
    compute = jax.jit(lambda p, s, v: _gradients(p, s, v, *rest, microbatches=MICROBATCHES))
    actual = jax.device_get(compute(params, stats, placed))
    assert relative(actual[0], expected[0]) < 1e-5
    assert relative(actual[1], expected[1]) < 1e-5
    np.testing.assert_allclose(actual[2]["loss"], expected[2]["loss"], rtol=1e-5)


def test_one_microbatch_is_the_whole_batch(parts, relative):
    params, stats, views, *rest = parts

    def one_microbatch(params, stats, passes, apply):
        return microbatches._in_microbatches(apply, 1)(params, stats, passes)

    one = jax.jit(lambda p, s, v: _gradients(p, s, v, *rest, forward=one_microbatch))
    whole = jax.jit(lambda p, s, v: _gradients(p, s, v, *rest))
    (g1, s1, m1), (g2, s2, m2) = (jax.device_get(f(params, stats, views)) for f in (one, whole))
    assert relative(g1, g2) < 1e-5 and relative(s1, s2) < 1e-6
    np.testing.assert_allclose(m1["loss"], m2["loss"], rtol=1e-6)


@pytest.fixture
def remat_apply(small_config, typed):
    small_config.network.remat = True
    return Network(typed(small_config).network).apply


def test_microbatches_save_memory(parts):
    params, stats, views, apply, loss = parts

    def temporaries(microbatches):
        compute = jax.jit(partial(_gradients, apply=apply, loss=loss, microbatches=microbatches))
        return compute.lower(params, stats, views).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(microbatches=16) < temporaries(microbatches=1) / 4


def test_remat_keeps_less_for_the_backward_pass(parts, remat_apply):
    params, stats, views, apply, _ = parts

    def kept(apply):
        def forward(params):
            return apply(params, stats, {"a": views["a"]})[0]

        _, pull = jax.eval_shape(lambda params: jax.vjp(forward, params), params)
        return sum(residual.size for residual in jax.tree.leaves(pull))

    assert kept(remat_apply) < kept(apply) / 2


def test_remat_changes_no_number(parts, remat_apply, relative):
    params, stats, views, apply, loss = parts
    plain, remat = (
        jax.device_get(jax.jit(partial(_gradients, apply=f, loss=loss))(params, stats, views))
        for f in (apply, remat_apply)
    )
    assert relative(remat[0], plain[0]) < 1e-6 and relative(remat[1], plain[1]) < 1e-6
