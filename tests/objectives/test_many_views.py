"""Compares SIGReg, INTL and EMP-SSL with their definitions in float64 NumPy, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Intl
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.objectives.emp_ssl import coding_rate, emp_ssl_loss
from barlow_jax.objectives.intl import intl_loss, normalize
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.sigreg import sigreg_loss
from barlow_jax.types import Grouping, LossContext, Outputs, RunInfo

KEY = jax.random.key(3)
ROWS, WIDTH = 32, 12
TOGETHER = Grouping(encoder="size", heads="together")


def _views(number=3, rows=ROWS, width=WIDTH):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(rows, width))
    return [(common + rng.normal(size=(rows, width)) + 0.5).astype(np.float32) for _ in range(number)]


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _sigreg(views, weight=0.05, projections=1024):
    vectors = _unit(np.asarray(jax.random.normal(KEY, (projections, views[0].shape[1])), np.float64))
    knots, center = np.linspace(-3, 3, 33), (views[0] + views[1]) / 2
    target = np.exp(-(knots**2) / 2)
    statistics = []
    for z in views:
        error = np.abs(np.exp(1j * (z @ vectors.T)[..., None] * knots).mean(0) - target) ** 2
        statistics.append(len(z) * np.trapezoid(error * target, knots, axis=-1).mean())
    distance = np.mean([np.mean((center - z) ** 2) for z in views])
    return (1 - weight) * distance + weight * np.mean(statistics)


def _normalized(z, iterations):
    x = z - z.mean(1, keepdims=True)
    s = np.cov(x)
    p = np.eye(len(x))
    for _ in range(iterations):
        p = (3 * p - np.linalg.matrix_power(p, 3) @ s / np.trace(s)) / 2
    return p @ x / np.sqrt(np.trace(s))


def _intl(views, iterations=4, trace_weight=0.02):
    first, *others = (_normalized(z, iterations) for z in views)

    def trace(y):
        return np.sum((np.var(y, axis=1, ddof=1) - 1) ** 2)

    cosines = [np.mean(np.sum(_unit(y) * _unit(first), 1)) for y in others]
    return np.mean([2 - 2 * c for c in cosines]) + trace_weight * np.mean(
        [trace(y) + trace(first) for y in others]
    )


def _emp_ssl(views, similarity_weight=200.0, distortion=0.2):
    units = [_unit(z) for z in views]
    rows, width = units[0].shape
    cosine = np.mean([np.sum(u * _unit(np.mean(units, 0)), 1) for u in units])
    matrices = [np.eye(width) + width / (rows * distortion) * u.T @ u for u in units]
    return -similarity_weight * cosine - np.mean([np.linalg.slogdet(m)[1] / 2 for m in matrices])


def _run_sigreg(views, **settings):
    return sigreg_loss(views, KEY, **settings)


CASES = {
    "sigreg": (_run_sigreg, _sigreg, {}),
    "sigreg, other settings": (_run_sigreg, _sigreg, {"weight": 0.3, "projections": 7}),
    "intl": (intl_loss, _intl, {}),
    "intl, 1 iteration": (intl_loss, _intl, {"iterations": 1, "trace_weight": 0.5}),
    "emp_ssl": (emp_ssl_loss, _emp_ssl, {}),
    "emp_ssl, other settings": (emp_ssl_loss, _emp_ssl, {"similarity_weight": 1.0, "distortion": 2.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_the_definitions(case, devices):
    loss, reference, settings = CASES[case]
    layout, views = Layout(make_mesh(devices)), _views()
    arrays = [jax.device_put(z, layout.batch) for z in views]
    value, gradients = jax.jit(jax.value_and_grad(lambda views: loss(views, **settings)))(arrays)
    np.testing.assert_allclose(value, reference(views, **settings), rtol=5e-6)
    rng, wide = np.random.default_rng(1), [z.astype(np.float64) for z in views]
    for _ in range(3):
        directions = rng.normal(size=(3, ROWS, WIDTH))
        above, below = (
            reference([z + step * d for z, d in zip(wide, directions, strict=True)], **settings)
            for step in (1e-5, -1e-5)
        )
        actual = sum(map(np.vdot, gradients, directions))
        assert abs(actual - (above - below) / 2e-5) < 2e-5 * np.linalg.norm(gradients)


def test_the_default_trace_weight_is_the_official_codes():
    views = _views(2, 64)
    np.testing.assert_allclose(intl_loss(views), _intl(views, trace_weight=0.03), rtol=5e-6)


def test_iterative_normalization_approaches_whitening():
    y = normalize(np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32), iterations=20)
    np.testing.assert_allclose(np.cov(y), np.eye(6), atol=1e-5)


def test_the_coding_rate_has_both_forms():
    u = _unit(np.random.default_rng(0).normal(size=(20, 5))).astype(np.float32)
    expected = np.linalg.slogdet(np.eye(20) + 5 / (20 * 0.2) * u @ u.T)[1] / 2
    np.testing.assert_allclose(coding_rate(u), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["sigreg", "intl", "emp_ssl"])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_collapsed_embeddings_have_a_finite_loss_and_gradient(name, value):
    loss = {"sigreg": _run_sigreg, "intl": intl_loss, "emp_ssl": emp_ssl_loss}[name]
    views = [np.full((16, 4), value, np.float32)] * 2
    value, gradients = jax.value_and_grad(loss)(views)
    assert np.isfinite(value) and np.all(np.isfinite(gradients))
    assert value > loss(_views(1, 16, 4) * 2)


@pytest.mark.parametrize("loss", [_run_sigreg, intl_loss, emp_ssl_loss])
def test_one_view_or_different_shapes_are_an_error(loss):
    for views in ([np.ones((16, 4))], [np.ones((16, 4)), np.ones((16, 3))], [np.ones(16)] * 2):
        with pytest.raises(ValueError, match="two or more"):
            loss(views)


@pytest.mark.parametrize("name", ["sigreg", "intl", "emp_ssl"])
def test_the_objective_reads_all_views_in_half_precision(name):
    views = dict(zip("bca", _views(3), strict=True))  # the recipe may name local views first
    objective = make_objective(config_lib.Objective(name=name, scale=2.0), RunInfo(tuple(views), WIDTH, ROWS))
    outputs = {key: Outputs(None, jnp.asarray(z, jnp.bfloat16)) for key, z in views.items()}
    value, _, metrics = objective.loss(outputs, {}, LossContext(None, key=KEY))
    order = "bca" if name == "intl" else "abc"
    rounded = [np.asarray(outputs[key].embedding, np.float64) for key in order]
    reference = {"sigreg": _sigreg, "intl": _intl, "emp_ssl": _emp_ssl}[name]
    np.testing.assert_allclose(value, 2 * reference(rounded), rtol=5e-6)
    assert value.dtype == jnp.float32 and metrics["loss"] == value and "embedding_spread" in metrics
    assert objective.grouping == (Grouping() if name == "intl" else TOGETHER)


def test_the_default_trace_weight_needs_more_than_eight_images():
    with pytest.raises(UserError, match="batch_size is 8"):
        make_objective(config_lib.Objective(name="intl"), RunInfo(batch_size=8))
    make_objective(config_lib.Objective(name="intl", intl=Intl(trace_weight=0.1)), RunInfo(batch_size=8))
