"""Compares with equations 1 to 4 of Bardes et al. 2022 in float64 NumPy."""

import jax
import numpy as np
import pytest

from barlow_jax.config.methods import Byol
from barlow_jax.config.schema import Objective
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.covariance import vicreg_regularization

VIEWS = np.random.default_rng(0).normal(size=(2, 16, 24)).astype(np.float32) * [[[0.5]], [[0.8]]]


def _definition(z):
    covariance = np.cov(z.astype(np.float64), rowvar=False)
    hinge = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    return hinge, np.sum((covariance * (1 - np.eye(len(covariance)))) ** 2) / len(covariance)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (2.0, 0.0), (0.0, 0.3), (2.0, 0.3)])
def test_each_weight_is_a_factor_of_the_sum_over_views(weights, devices):
    layout = Layout(make_mesh(devices))

    def both(*views):
        settings = Byol(variance_weight=weights[0], covariance_weight=weights[1])
        return vicreg_regularization(views, settings, Objective(), layout.reshard)

    value, metrics = jax.jit(both)(*(jax.device_put(np.float32(z), layout.batch) for z in VIEWS))
    terms = np.array([_definition(z) for z in VIEWS])
    np.testing.assert_allclose(value, np.sum(weights * terms), rtol=1e-5)
    expected = dict(zip(("variance", "covariance"), terms.mean(axis=0), strict=True))
    weighted = [name for name, weight in zip(expected, weights, strict=True) if weight]
    assert sorted(metrics) == sorted(weighted)
    for name in weighted:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)
