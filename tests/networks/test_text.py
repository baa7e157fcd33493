"""Compares the GRU with its recurrence in float64."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config.schema import Network as NetworkConfig, Text
from barlow_jax.networks.network import Network
from barlow_jax.networks.text import Gru

SIZES = Text(vocabulary_size=11, embedding_size=5, hidden_size=7)
# A full caption, shorter ones, an id outside the vocabulary, and the same caption with the unknown word.
WORDS = np.array([[2, 3, 4, 5], [6, 7, 0, 0], [2, 0, 0, 0], [2, 99, 3, 0], [2, 1, 3, 0]], np.int32)


@pytest.fixture(scope="module")
def encoder():
    graph, state = nnx.split(Gru(SIZES, rngs=nnx.Rngs(0)))
    return graph, state, nnx.to_pure_dict(state)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _numpy(params, words, table):
    """Return the state after one caption, in the letters of the module's docstring."""
    cell = params["cell"]
    w_r, w_z, w_n = np.split(np.float64(cell["dense_i"]["kernel"]), 3, axis=1)
    b_r, b_z, b_n = np.split(np.float64(cell["dense_i"]["bias"]), 3)
    u_r, u_z, u_n = np.split(np.float64(cell["dense_h"]["kernel"]), 3, axis=1)
    h = np.zeros(SIZES.hidden_size)
    for word in words:
        x = table[word]
        r, z = _sigmoid(x @ w_r + h @ u_r + b_r), _sigmoid(x @ w_z + h @ u_z + b_z)
        n = np.tanh(x @ w_n + b_n + r * (h @ u_n))
        h = (1 - z) * n + z * h
    return h


def _known_words(words):
    return [word if word < SIZES.vocabulary_size else 1 for word in words.tolist() if word]


def test_a_caption_is_the_state_after_its_last_word(encoder):
    graph, state, params = encoder
    result = jax.jit(lambda words: nnx.merge(graph, state)(words, train=True))(WORDS)
    table = np.float64(params["words"])
    expected = np.stack([_numpy(params, _known_words(words), table) for words in WORDS])
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_word_embedding_is_that_of_the_recurrence(encoder):
    graph, _, params = encoder
    weights = np.random.default_rng(0).normal(size=(len(WORDS), SIZES.hidden_size))

    def total(table):
        module = nnx.merge(graph, params | {"words": table})
        return jnp.sum(weights * module(WORDS, train=True))

    gradient = jax.jit(jax.grad(total))(params["words"])
    table = np.float64(params["words"])

    def reference(table):
        return sum(
            w @ _numpy(params, _known_words(words), table) for w, words in zip(weights, WORDS, strict=True)
        )

    numeric = np.zeros_like(table)
    for index in np.ndindex(*table.shape):
        up, down = table.copy(), table.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        numeric[index] = (reference(up) - reference(down)) / 2e-6
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5)
    assert not np.any(gradient[0]), "padding has no gradient"


def test_padding_at_the_end_changes_no_bit(encoder):
    graph, state, _ = encoder
    read = jax.jit(lambda words: nnx.merge(graph, state)(words, train=False))
    np.testing.assert_array_equal(read(WORDS), read(np.pad(WORDS, ((0, 0), (0, 3)))))


def test_the_initialization_is_that_of_vse(encoder):
    _, _, params = encoder
    bound = SIZES.hidden_size**-0.5
    assert 0.09 < np.max(np.abs(params["words"])) <= 0.1
    for leaf in jax.tree.leaves(params["cell"]):
        assert 0.8 * bound < np.max(np.abs(leaf)) <= bound


def test_a_text_branch_and_an_image_branch_have_their_own_projectors():
    config = NetworkConfig(
        encoder="resnet8",
        width=4,
        stem="cifar",
        projector=(16, 8),
        dtype="float32",
        branches="own",
        second_encoder="gru",
        text=SIZES,
    )
    network = Network(config)
    params, stats = jax.jit(network.init)(jax.random.key(0))
    assert params["second"]["encoder"]["words"].shape == (11, 5)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    views = {"a": images, "b": WORDS}
    outputs, new = jax.jit(network.apply)(params, stats, views)
    assert outputs["b"].representation.shape == (5, 7) and outputs["b"].embedding.shape == (5, 8)
    moved = jax.tree.map(lambda old, now: bool(np.any(old != now)), stats, new)
    assert all(jax.tree.leaves(moved)), "both projectors' running statistics"
    frozen = jax.jit(network.apply_frozen, static_argnums=2)
    text = nnx.split(Gru(SIZES, rngs=nnx.Rngs(0)))[0]
    encoded = nnx.merge(text, params["second"]["encoder"])(WORDS, train=False)
    assert frozen(params, stats, "a", images).embedding.shape == (5, 8)
    layers, norm = (params["second"]["projector"][part] for part in ("layers", "norms"))
    running = stats["second"]["projector"]["norms"][0]
    mean, var, scale, bias = (
        part[np.newaxis] for part in (running["mean"], running["var"], norm[0]["scale"], norm[0]["bias"])
    )
    hidden = (encoded @ layers[0]["kernel"] - mean) / np.sqrt(var + 1e-5)
    expected = np.maximum(hidden * scale + bias, 0) @ layers[1]["kernel"]
    actual = frozen(params, stats, "b", WORDS)
    np.testing.assert_allclose(actual.representation, encoded, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual.embedding, expected, rtol=1e-4, atol=1e-5)
