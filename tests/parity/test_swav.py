"""Compares SwAV with torch's cross_entropy with soft targets, in float64."""

import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Swav
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH, PROTOTYPES, QUEUE = 24, 8, 10, 48
VIEWS = ("a", "b", "c")
pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install -e '.[parity]'")


def _codes(torch, scores, settings):
    """Normalize rows and columns of exp(scores / epsilon) in alternation; `[N, K]`."""
    q = torch.exp(scores / settings.epsilon)
    for _ in range(settings.sinkhorn_iterations):
        q = torch.nn.functional.normalize(q, p=1, dim=0)
        q = torch.nn.functional.normalize(q, p=1, dim=1)
    return q[-ROWS:]


@pytest.mark.parametrize("queue_size", [0, QUEUE])
def test_the_loss_and_its_gradient_in_embeddings_are_torchs(torch, queue_size):
    """Step 0: prototypes are frozen and embeddings have the whole gradient."""
    settings = Swav(queue_size=queue_size, queue_from_epoch=0.0)
    objective = make_objective(
        config_lib.Objective(name="swav", swav=settings), RunInfo(VIEWS, width=WIDTH, batch_size=ROWS)
    )
    rng, normalize = np.random.default_rng(0), torch.nn.functional.normalize
    embeddings = {name: rng.normal(size=(ROWS, WIDTH)).astype(np.float32) for name in VIEWS}
    queues = {n: normalize(torch.tensor(rng.normal(size=(QUEUE, WIDTH)))).float().numpy() for n in "ab"}
    vectors = normalize(torch.tensor(rng.normal(size=(WIDTH, PROTOTYPES))), dim=0).float().numpy()
    # Scores are not read: other ones would give the same.
    outputs = {
        n: Outputs(None, z, scores=np.zeros((ROWS, PROTOTYPES), np.float32)) for n, z in embeddings.items()
    }
    context = loss_reference.loss_context(ROWS, step=jnp.int32(0), prototypes=jnp.asarray(vectors))
    value, gradients, _, _ = loss_reference.run(objective, outputs, queues if queue_size else {}, context)

    z = {n: torch.tensor(x, dtype=torch.float64, requires_grad=True) for n, x in embeddings.items()}
    c = torch.tensor(vectors, dtype=torch.float64)
    scores, loss = {name: normalize(x) @ c for name, x in z.items()}, 0
    for name in "ab":
        own = scores[name].detach()
        old = torch.tensor(queues[name][:queue_size], dtype=torch.float64) @ c
        q = _codes(torch, torch.cat([old, own]), settings)
        others = [scores[v] / settings.temperature for v in VIEWS if v != name]
        loss = loss + sum(torch.nn.functional.cross_entropy(s, q) for s in others) / len(others) / 2
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    for name in VIEWS:
        expected = z[name].grad.numpy()
        assert np.linalg.norm(gradients[name].embedding - expected) < 5e-6 * np.linalg.norm(expected), name
