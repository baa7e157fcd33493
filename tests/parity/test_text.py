"""Compares the GRU and its gradients with torch's in float64."""

from flax import nnx
import jax
import numpy as np
import pytest

from barlow_jax.config.schema import Text
from barlow_jax.networks.text import Gru

pytestmark = pytest.mark.parity

SIZES = Text(vocabulary_size=13, embedding_size=6, hidden_size=9)
LENGTHS = np.array([7, 5, 5, 1])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed here: pip install -e '.[parity]'")


def _torch_of(torch, params):
    """Run torch's embedding and GRU with our parameters: gates in the order r, z, n, and no biases of h."""
    words = torch.nn.Embedding(SIZES.vocabulary_size, SIZES.embedding_size, dtype=torch.float64)
    gru = torch.nn.GRU(SIZES.embedding_size, SIZES.hidden_size, batch_first=True, dtype=torch.float64)
    cell = params["cell"]
    with torch.no_grad():
        words.weight.copy_(torch.tensor(np.asarray(params["words"])))
        gru.weight_ih_l0.copy_(torch.tensor(np.asarray(cell["dense_i"]["kernel"]).T))
        gru.weight_hh_l0.copy_(torch.tensor(np.asarray(cell["dense_h"]["kernel"]).T))
        gru.bias_ih_l0.copy_(torch.tensor(np.asarray(cell["dense_i"]["bias"])))
        gru.bias_hh_l0.zero_()
    return words, gru


def test_states_and_gradients_are_torch_s(torch, double):
    rng = np.random.default_rng(0)
    ids = np.where(np.arange(8) < LENGTHS[:, np.newaxis], rng.integers(2, 13, (4, 8)), 0).astype(np.int32)
    weights = rng.normal(size=(4, SIZES.hidden_size))
    graph, state = nnx.split(Gru(SIZES, dtype=np.float64, rngs=nnx.Rngs(0)))
    params = double(nnx.to_pure_dict(state))

    def total(params):
        states = nnx.merge(graph, params)(ids, train=True)
        return (weights * states).sum(), states

    (_, states), gradients = jax.value_and_grad(total, has_aux=True)(params)
    words, gru = _torch_of(torch, params)
    packed = torch.nn.utils.rnn.pack_padded_sequence(words(torch.tensor(ids)), LENGTHS, batch_first=True)
    _, last = gru(packed)
    (torch.tensor(weights) * last[0]).sum().backward()
    np.testing.assert_allclose(states, last[0].detach(), atol=1e-12)
    theirs = {"kernel": gru.weight_ih_l0.grad.T, "bias": gru.bias_ih_l0.grad}
    for name, expected in theirs.items():
        np.testing.assert_allclose(gradients["cell"]["dense_i"][name], expected, atol=1e-12)
    np.testing.assert_allclose(gradients["cell"]["dense_h"]["kernel"], gru.weight_hh_l0.grad.T, atol=1e-12)
    np.testing.assert_allclose(gradients["words"], words.weight.grad, atol=1e-12)
