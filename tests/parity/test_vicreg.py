"""Compares VICReg with torch's variance, covariance and mean squared error in float64."""

from functools import partial

import jax
import numpy as np
import pytest

from barlow_jax.objectives.vicreg import vicreg_loss

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed here: pip install -e '.[parity]'")


def _torch_loss(torch, z_a, z_b, variance_factor):
    total = 25 * torch.nn.functional.mse_loss(z_a, z_b)
    for z in (z_a, z_b):
        hinge = torch.clamp(1 - torch.sqrt(torch.var(z, dim=0) + 1e-4), min=0).mean()
        energy = torch.cov(z.T).fill_diagonal_(0).square().sum() / z.shape[1]
        total = total + 25 * variance_factor * hinge + energy
    return total


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
@pytest.mark.parametrize(("name", "factor"), [("code", 0.5), ("paper", 1.0)])
def test_loss_and_gradients_are_torch_s(torch, shape, form, name, factor):
    pair = np.random.default_rng(0).normal(size=(2, *shape)) * np.linspace(0.2, 2, shape[1]) + 1
    pair = pair.astype(np.float32)
    leaves = [torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in pair]
    expected = _torch_loss(torch, *leaves, factor)
    expected.backward()
    loss = partial(vicreg_loss, variance_factor=name, form=form)
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(*pair)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        assert np.linalg.norm(gradient - leaf.grad.numpy()) < 2e-6 * np.linalg.norm(leaf.grad.numpy())
