"""Compares SimSiam with torch's cosine_similarity, torch.var and torch.cov in float64."""

import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Simsiam
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs

ROWS, WIDTH = 40, 12
pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install -e '.[parity]'")


def test_the_loss_and_all_gradients_are_torchs(torch):
    settings = Simsiam(variance_weight=1.0, covariance_weight=0.1)
    objective = make_objective(config_lib.Objective(name="simsiam", simsiam=settings))
    embeddings, predictions = np.random.default_rng(0).normal(size=(2, 2, ROWS, WIDTH)).astype(np.float32)
    outputs = {n: Outputs(None, z, p) for n, z, p in zip("ab", embeddings, predictions, strict=True)}
    value, gradients, _, _ = loss_reference.run(objective, outputs)

    z, p = (
        [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in pair]
        for pair in (embeddings, predictions)
    )
    cosine = torch.nn.functional.cosine_similarity
    loss = -(cosine(p[0], z[1].detach()).mean() + cosine(p[1], z[0].detach()).mean()) / 2
    for x in z:
        off = torch.cov(x.T).fill_diagonal_(0)
        loss = loss + settings.variance_weight * torch.relu(1 - torch.sqrt(x.var(dim=0) + 1e-4)).mean()
        loss = loss + settings.covariance_weight * off.square().sum() / WIDTH
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    for view, name in enumerate("ab"):
        actual = gradients[name].embedding, gradients[name].prediction
        for gradient, expected in zip(actual, (z[view].grad.numpy(), p[view].grad.numpy()), strict=True):
            assert np.linalg.norm(gradient - expected) < 2e-6 * np.linalg.norm(expected), name
