"""Compares each ablation of the loss with its definition in float64 NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import BarlowTwins
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import LossContext, Outputs, RunInfo

ROWS, WIDTH, EPSILON = 48, 24, 1e-5
CONTEXT = LossContext(jnp.zeros([ROWS], jnp.int32))
CONFIG = config_lib.Objective(barlow_twins=BarlowTwins(off_diagonal_weight=0.01))


def _embeddings():
    first, noise = np.random.default_rng(0).normal(size=(2, ROWS, WIDTH))
    return (first + 2).astype(np.float32), (first + noise - 1).astype(np.float32)


def _outputs(z_a, z_b, prediction=None):
    return {"a": Outputs(None, z_a, prediction), "b": Outputs(None, z_b)}


def _loss(config, *embeddings, reshard=None):
    objective = make_objective(config, RunInfo(reshard=reshard))
    return jax.jit(lambda outputs: objective.loss(outputs, {}, CONTEXT)[::2])(_outputs(*embeddings))


def _changed(**changes):
    return dataclasses.replace(CONFIG, barlow_twins=dataclasses.replace(CONFIG.barlow_twins, **changes))


def _batch(z):
    z = z.astype(np.float64) - z.mean(0, dtype=np.float64)
    return z / np.sqrt(z.var(0) + EPSILON)


def _sample(z):
    z = _batch(z)
    return np.sqrt(ROWS) * z / np.linalg.norm(z, axis=1, keepdims=True)


def _none(z):
    return z.astype(np.float64) - z.mean(0, dtype=np.float64)


def _squares(a, b, weights=(1.0, 0.01), auto=False):
    c = a.T @ b / ROWS
    off = (a.T @ a / ROWS if auto else c) * (1 - np.eye(WIDTH))
    return weights[0] * np.sum((1 - np.diag(c)) ** 2) + weights[1] * np.sum(off**2)


def _cross_entropy(a, b, temperature=0.5):
    c = a.T @ b / ROWS
    off = ~np.eye(WIDTH, dtype=bool)
    return -np.log(np.sum(np.exp(np.diag(c) / temperature))) + 0.01 * np.log(
        np.sum(np.exp(np.maximum(c[off], 0) / temperature))
    )


ABLATIONS = {
    "only invariance": ({"off_diagonal_weight": 0.0}, lambda a, b: _squares(_batch(a), _batch(b), (1, 0))),
    "only redundancy": ({"invariance_weight": 0.0}, lambda a, b: _squares(_batch(a), _batch(b), (0, 0.01))),
    "along features": ({"normalization": "sample"}, lambda a, b: _squares(_sample(a), _sample(b))),
    "no normalization": ({"normalization": "none"}, lambda a, b: _squares(_none(a), _none(b))),
    "auto-correlation": ({"off_diagonal": "auto"}, lambda a, b: _squares(_batch(a), _batch(b), auto=True)),
    "cross-entropy": ({"temperature": 0.5}, lambda a, b: _cross_entropy(_batch(a), _batch(b))),
}


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("name", ABLATIONS)
def test_each_ablation_is_its_definition(name, form, devices):
    changes, reference = ABLATIONS[name]
    form = "auto" if "temperature" in changes else form
    config = dataclasses.replace(_changed(**changes), form=form)
    layout, (z_a, z_b) = Layout(make_mesh(devices)), _embeddings()
    placed = (jax.device_put(z, layout.batch) for z in (z_a, z_b))
    value, metrics = _loss(config, *placed, reshard=layout.reshard)
    np.testing.assert_allclose(value, reference(z_a, z_b), rtol=2e-6)
    assert all(np.isfinite(metric) for metric in metrics.values())


@pytest.mark.parametrize("name", ABLATIONS)
def test_gradients_are_those_of_the_definition(name):
    """Compares along random directions with central differences of the float64 definition."""
    changes, reference = ABLATIONS[name]
    objective = make_objective(_changed(**changes))
    z_a, z_b = _embeddings()
    gradients = jax.jit(jax.grad(lambda pair: objective.loss(_outputs(*pair), {}, CONTEXT)[0]))((z_a, z_b))
    rng = np.random.default_rng(1)
    for _ in range(3):
        d_a, d_b = rng.normal(size=(2, ROWS, WIDTH))
        step, a, b = 1e-5, z_a.astype(np.float64), z_b.astype(np.float64)
        slope = (reference(a + step * d_a, b + step * d_b) - reference(a - step * d_a, b - step * d_b)) / (
            2 * step
        )
        actual = np.vdot(gradients[0], d_a) + np.vdot(gradients[1], d_b)
        scale = np.linalg.norm(gradients[0]) + np.linalg.norm(gradients[1])
        assert abs(actual - slope) < 2e-5 * scale


def test_constant_embeddings_without_normalization_have_finite_gradients():
    objective = make_objective(_changed(normalization="none"))
    constant = jnp.ones((ROWS, WIDTH))
    gradients = jax.grad(lambda z: objective.loss(_outputs(z, z), {}, CONTEXT)[0])(constant)
    assert np.all(np.isfinite(gradients))


def _gradients_by_view(config, prediction):
    objective = make_objective(config)
    z_a, z_b = _embeddings()

    def loss(z_a, z_b):
        return objective.loss(_outputs(z_a, z_b, prediction(z_a)), {}, CONTEXT)[0]

    return jax.grad(loss, argnums=(0, 1))(z_a, z_b)


def test_the_stop_gradient_is_on_view_b():
    plain, stopped = (
        _gradients_by_view(_changed(stop_gradient=stop), lambda z: None) for stop in (False, True)
    )
    np.testing.assert_allclose(stopped[0], plain[0], rtol=1e-6, atol=1e-7)
    assert np.any(plain[1] != 0) and not np.any(stopped[1])


def test_the_predictor_is_on_view_a():
    z_a, z_b = _embeddings()
    predicted, _ = _loss(CONFIG, z_a, z_b, z_a[:, ::-1])
    np.testing.assert_allclose(predicted, _squares(_batch(z_a[:, ::-1]), _batch(z_b)), rtol=2e-6)
