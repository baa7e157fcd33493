"""Compares the embedding statistics with float64 NumPy, and checks their limits 0 and 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.embedding_statistics import embedding_statistics

NAMES = ("embedding_std_min", "embedding_std_mean", "embedding_spread")


def _views(scale=1.0, offset=0.0, number=2):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(number, 40, 12)) * np.linspace(0.5, 2, 12) + offset
    return [(scale * view).astype(np.float32) for view in z]


def _reference(views):
    z = np.stack(views).astype(np.float64)
    stds = z.std(axis=1)
    return stds.min(), stds.mean(), stds.mean() / np.sqrt(np.mean(z**2))


def _actual(views):
    metrics = jax.jit(embedding_statistics)(views)
    assert set(metrics) == set(NAMES)
    return [float(metrics[name]) for name in NAMES]


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e18, 1e37])
def test_they_are_their_definitions_at_any_scale(number, scale):
    views = _views(scale, offset=3.0, number=number)
    np.testing.assert_allclose(_actual(views), _reference(views), rtol=2e-6)


def test_one_view_may_be_far_smaller_than_another():
    views = [_views()[0], _views(1e-25)[1]]
    np.testing.assert_allclose(_actual(views), _reference(views), rtol=2e-6)


def test_collapsed_embeddings_have_no_spread():
    for constant in (0.0, 0.1, -1e30):
        assert _actual([jnp.full((40, 12), constant)]) == [0, 0, 0]


def test_embeddings_around_the_origin_have_spread_1():
    signs = np.where(
        np.random.default_rng(0).permuted(np.arange(40 * 12).reshape(12, 40) % 2, axis=1).T, 1.0, -1.0
    )
    assert _actual([7 * signs]) == pytest.approx([7, 7, 1])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e25])
def test_with_unit_length_the_spread_is_that_of_unit_rows(scale):
    views = _views(scale, offset=1.0)
    metrics = {name: float(value) for name, value in embedding_statistics(views, unit_length=True).items()}
    units = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in np.float64(views)]
    assert metrics["embedding_spread"] == pytest.approx(_reference(units)[2], rel=2e-6)
    np.testing.assert_allclose([metrics[name] for name in NAMES[:2]], _reference(views)[:2], rtol=2e-6)


def test_rows_that_point_one_way_spread_only_in_length():
    ray = np.random.default_rng(0).uniform(1, 9, (40, 1)).astype(np.float32) * np.arange(
        1, 13, dtype=np.float32
    )
    assert embedding_statistics([ray])["embedding_spread"] > 0.3
    assert embedding_statistics([ray], unit_length=True)["embedding_spread"] < 1e-6


def test_half_precision_embeddings_are_read_in_float32():
    views = [jnp.asarray(view, jnp.bfloat16) for view in _views(offset=2.0)]
    np.testing.assert_allclose(_actual(views), _reference([np.float32(view) for view in views]), rtol=2e-6)


def test_metrics_have_no_gradient():
    gradient = jax.grad(lambda z: sum(embedding_statistics([z]).values()))(jnp.asarray(_views()[0]))
    assert not np.any(gradient)


def test_eight_devices_agree_with_one(devices):
    layout, views = Layout(make_mesh(devices)), _views(offset=1.0)
    placed = [jax.device_put(view, layout.batch) for view in views]
    np.testing.assert_allclose(_actual(placed), _reference(views), rtol=2e-6)
