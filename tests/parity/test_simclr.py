"""Compares NT-Xent with torch's cross-entropy over 2N classes in float64."""

import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs

ROWS, WIDTH = 40, 12
pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install -e '.[parity]'")


def test_the_loss_and_both_gradients_are_torchs(torch):
    config = config_lib.Objective(name="simclr")
    pair = np.random.default_rng(0).normal(size=(2, ROWS, WIDTH)).astype(np.float32)
    outputs = {name: Outputs(None, z) for name, z in zip("ab", pair, strict=True)}
    value, gradients, _, _ = loss_reference.run(make_objective(config), outputs)

    of_torch = [torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in pair]
    u = torch.nn.functional.normalize(torch.cat(of_torch))
    logits = (u @ u.T / config.simclr.temperature).fill_diagonal_(-torch.inf)
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(2 * ROWS).roll(ROWS))
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    for name, z in zip("ab", of_torch, strict=True):
        expected = z.grad.numpy()
        assert np.linalg.norm(gradients[name].embedding - expected) < 1e-6 * np.linalg.norm(expected), name
