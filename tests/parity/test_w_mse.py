"""Compares W-MSE with torch's Cholesky factor and triangular solve in float64."""

from functools import partial
from itertools import combinations

import jax
import numpy as np
import pytest

from barlow_jax.objectives.w_mse import w_mse_loss

pytestmark = pytest.mark.parity
KEY = jax.random.key(0)
ROWS, WIDTH, SUB_BATCH = 96, 12, 32


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed here: pip install -e '.[parity]'")


def _whitened(torch, v, shrinkage):
    s = (1 - shrinkage) * torch.cov(v.T) + shrinkage * torch.eye(WIDTH, dtype=v.dtype)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(s), (v - v.mean(0)).T, upper=False).T


def _torch_loss(torch, views, iterations, shrinkage):
    losses = []
    for key in jax.random.split(KEY, iterations):
        parts = torch.tensor(np.asarray(jax.random.permutation(key, ROWS))).split(SUB_BATCH)
        whitened = [torch.cat([_whitened(torch, v[part], shrinkage) for part in parts]) for v in views]
        cosine = torch.nn.functional.cosine_similarity
        losses += [(2 - 2 * cosine(one, other)).mean() for one, other in combinations(whitened, 2)]
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("views", "iterations", "shrinkage"), [(2, 1, 0.0), (2, 4, 0.0), (4, 1, 0.0), (2, 1, 0.05)]
)
def test_loss_and_gradients_are_torch_s(torch, views, iterations, shrinkage):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(ROWS, WIDTH)) + rng.normal(size=(views, ROWS, WIDTH)) / 2 + 1
    embeddings = list(embeddings.astype(np.float32))
    leaves = [torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in embeddings]
    expected = _torch_loss(torch, leaves, iterations, shrinkage)
    expected.backward()
    loss = partial(w_mse_loss, key=KEY, sub_batch=SUB_BATCH, iterations=iterations, shrinkage=shrinkage)
    value, gradients = jax.value_and_grad(loss)(embeddings)
    np.testing.assert_allclose(value, expected.item(), rtol=2e-6)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        assert np.linalg.norm(gradient - leaf.grad.numpy()) < 5e-6 * np.linalg.norm(leaf.grad.numpy())
