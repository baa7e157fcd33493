"""What the tests of the methods share: a loss on a mesh, and its gradient against a float64 definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.types import LossContext


def context(rows, **fields):
    return LossContext(jnp.zeros([rows], jnp.int32), **fields)


@functools.cache
def _compiled(objective):
    def loss(outputs, memory, about):
        value, memory, metrics = objective.loss(outputs, memory, jax.lax.stop_gradient(about))
        return value, (memory, metrics)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def run(objective, outputs, memory=None, about=None, num_devices=1):
    """The value, the gradient of the outputs, the memory and the metrics; laid out as in a run."""
    layout, memory = Layout(make_mesh(jax.devices()[:num_devices])), memory or {}
    about = about or context(len(jax.tree.leaves(outputs)[0]))
    of_context = jax.tree.map(lambda _: layout.replicated, about)._replace(
        labels=layout.batch, targets=jax.tree.map(lambda _: layout.batch, about.targets)
    )
    placed = (
        jax.device_put(outputs, layout.batch),
        jax.device_put(memory, layout.state_shardings({"memory": memory})["memory"]),
        jax.device_put(about, of_context),
    )
    (value, more), gradients = _compiled(objective)(*placed)
    return jax.device_get((value, gradients, *more))


def assert_one_device_is_as_eight(objective, outputs, memory=None, about=None):
    """Value, gradients, memory and metrics to 1e-5."""
    one, eight = (run(objective, outputs, memory, about, num_devices=n) for n in (1, 8))
    for a, b in zip(jax.tree.leaves(eight), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
    return one


def assert_slopes(definition, tree, gradients, tolerance=1e-5, step=1e-6):
    """Along three random directions, by central differences of a float64 definition of the tree's arrays."""
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = jax.tree.map(lambda x: rng.normal(size=x.shape), tree)
        ahead, behind = (
            definition(jax.tree.map(lambda x, d, sign=sign: x + sign * step * d, tree, direction))
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * step)
        found = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradients, direction)), strict=True))
        scale = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
        assert abs(found - slope) < tolerance * scale


def assert_finite(tree):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))
