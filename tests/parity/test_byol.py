"""Compares BYOL with torch's cosine_similarity, torch.var and torch.cov in float64."""

import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Byol
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs

ROWS, WIDTH = 40, 12
pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install -e '.[parity]'")


def _regularization(torch, z, settings):
    off = torch.cov(z.T).fill_diagonal_(0)
    hinge = torch.relu(1 - torch.sqrt(torch.var(z, dim=0) + 1e-4)).mean()
    return settings.variance_weight * hinge + settings.covariance_weight * off.square().sum() / WIDTH


def test_the_loss_and_all_gradients_are_torchs(torch):
    settings = Byol(variance_weight=1.0, covariance_weight=0.1)
    objective = make_objective(config_lib.Objective(name="byol", byol=settings))
    arrays = np.random.default_rng(0).normal(size=(3, 2, ROWS, WIDTH)).astype(np.float32)
    embeddings, predictions, targets = arrays[0] / 2, arrays[1], arrays[2]
    outputs = {n: Outputs(None, z, p) for n, z, p in zip("ab", embeddings, predictions, strict=True)}
    context = loss_reference.loss_context(
        ROWS, targets={n: Outputs(None, t) for n, t in zip("ab", targets, strict=True)}
    )
    value, gradients, _, _ = loss_reference.run(objective, outputs, context=context)

    z, p = (
        [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in pair]
        for pair in (embeddings, predictions)
    )
    t = [torch.tensor(x, dtype=torch.float64) for x in targets]
    cosine = torch.nn.functional.cosine_similarity
    loss = (2 - 2 * cosine(p[0], t[1])).mean() + (2 - 2 * cosine(p[1], t[0])).mean()
    loss = loss + sum(_regularization(torch, x, settings) for x in z)
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    for view, name in enumerate("ab"):
        actual = gradients[name].embedding, gradients[name].prediction
        for gradient, expected in zip(actual, (z[view].grad.numpy(), p[view].grad.numpy()), strict=True):
            assert np.linalg.norm(gradient - expected) < 2e-6 * np.linalg.norm(expected), name
