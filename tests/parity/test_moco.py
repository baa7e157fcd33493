"""Compares MoCo's loss with torch's cross-entropy over 1 + K classes in float64."""

import jax
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Moco
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH, QUEUE = 40, 12, 120
pytestmark = pytest.mark.parity


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install -e '.[parity]'")


def test_the_loss_its_gradient_and_the_queue_are_torchs(torch):
    config = config_lib.Objective(name="moco", moco=Moco(queue_size=QUEUE))
    objective = make_objective(config, RunInfo(batch_size=ROWS, width=WIDTH))
    queries, keys = np.random.default_rng(0).normal(size=(2, ROWS, WIDTH)).astype(np.float32)
    context = loss_reference.loss_context(ROWS, targets={"b": Outputs(None, keys)})
    memory = jax.device_get(objective.init_memory(jax.random.key(0)))
    value, gradients, after, _ = loss_reference.run(objective, {"a": Outputs(None, queries)}, memory, context)

    z = torch.tensor(queries, dtype=torch.float64, requires_grad=True)
    q = torch.nn.functional.normalize(z)
    k = torch.nn.functional.normalize(torch.tensor(keys, dtype=torch.float64))
    queue = torch.tensor(memory["queue"], dtype=torch.float64)
    logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ queue.T], dim=1) / config.moco.temperature
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(ROWS, dtype=torch.int64))
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    expected = z.grad.numpy()
    assert np.linalg.norm(gradients["a"].embedding - expected) < 1e-6 * np.linalg.norm(expected)
    np.testing.assert_allclose(after["queue"], torch.cat([k, queue[:-ROWS]]).numpy(), atol=1e-6)
