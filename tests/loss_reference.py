"""Runs an objective on a mesh, and compares its gradient with a float64 definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.types import LossContext


def loss_context(rows, **fields):
    return LossContext(jnp.zeros([rows], jnp.int32), **fields)


@functools.cache
def _compiled(objective):
    def loss(outputs, memory, context):
        value, memory, metrics = objective.loss(outputs, memory, jax.lax.stop_gradient(context))
        return value, (memory, metrics)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def run(objective, outputs, memory=None, context=None, num_devices=1):
    """Return value, gradient of the outputs, memory and metrics; arrays are laid out as in training."""
    layout, memory = Layout(make_mesh(jax.devices()[:num_devices])), memory or {}
    context = context or loss_context(len(jax.tree.leaves(outputs)[0]))
    context_shardings = jax.tree.map(lambda _: layout.replicated, context)._replace(
        labels=layout.batch, targets=jax.tree.map(lambda _: layout.batch, context.targets)
    )
    placed = (
        jax.device_put(outputs, layout.batch),
        jax.device_put(memory, layout.state_shardings({"memory": memory})["memory"]),
        jax.device_put(context, context_shardings),
    )
    (value, aux), gradients = _compiled(objective)(*placed)
    return jax.device_get((value, gradients, *aux))


def assert_one_device_matches_eight(objective, outputs, memory=None, context=None):
    """Check that value, gradients, memory and metrics agree to 1e-5."""
    one, eight = (run(objective, outputs, memory, context, num_devices=n) for n in (1, 8))
    for a, b in zip(jax.tree.leaves(eight), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
    return one


def assert_slopes(definition, tree, gradients, tolerance=1e-5, step=1e-6):
    """Check gradients in three random directions by central differences of a float64 definition."""
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = jax.tree.map(lambda x: rng.normal(size=x.shape), tree)
        ahead, behind = (
            definition(jax.tree.map(lambda x, d, sign=sign: x + sign * step * d, tree, direction))
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * step)
        pairs = zip(*map(jax.tree.leaves, (gradients, direction)), strict=True)
        actual = sum(np.vdot(g, d) for g, d in pairs)
        scale = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
        assert abs(actual - slope) < tolerance * scale


def assert_finite(tree):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))
