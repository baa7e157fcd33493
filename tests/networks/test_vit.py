"""Compares the vision transformer with published sizes, and with a forward pass in NumPy."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from barlow_jax.config.architectures import VITS, VitFacts
from barlow_jax.networks.vit import Block, Vit, positions


def _vit(patch=16, **kwargs):
    """Return a transformer of two of `vit_tiny`'s twelve equal blocks."""
    return nnx.split(Vit(VITS["vit_tiny"]._replace(patch=patch, blocks=2), rngs=nnx.Rngs(0), **kwargs))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vit_tiny", 5_717_416),
        pytest.param("vit_small", 22_050_664, marks=pytest.mark.slow),
        ("vit_base", 86_567_656),
    ],
)
def test_parameter_count_is_deits_without_its_classifier_and_learned_positions(name, published):
    width = VITS[name].width
    _, params = nnx.split(nnx.eval_shape(lambda: Vit(VITS[name], rngs=nnx.Rngs(0))), nnx.Param, ...)[:2]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == published - 1000 * (width + 1) - 197 * width


def test_the_output_is_float32_for_any_channels_and_any_multiple_of_the_patch_size():
    graph, state = _vit(patch=4, channels=5, dtype=jnp.bfloat16)
    for side in (8, 12):
        y = nnx.merge(graph, state)(jnp.ones((2, side, side, 5)), train=True)
        assert y.shape == (2, 192) and y.dtype == jnp.float32


def _positions(rows, columns, width):
    """Return sines and cosines of column, then of row, entry by entry."""
    embeddings, quarter = np.empty((rows, columns, width)), width // 4
    for row, column, k in np.ndindex(rows, columns, quarter):
        angles = (index / 10000 ** (k / quarter) for index in (column, row))
        values = [f(angle) for angle in angles for f in (np.sin, np.cos)]
        embeddings[row, column, k::quarter] = values
    return embeddings


def _numpy(params, x, patch, heads):
    """Apply the forward pass in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def norm(x, of):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * of["scale"] + of["bias"]

    def attend(x, of):
        q, k, v = (
            np.einsum("bnw,whd->bhnd", x, of[n]["kernel"]) + of[n]["bias"][:, None]
            for n in ("query", "key", "value")
        )
        a = np.exp(q @ np.swapaxes(k, 2, 3) / np.sqrt(q.shape[-1]))
        y = a / a.sum(-1, keepdims=True) @ v
        return np.einsum("bhnd,hdw->bnw", y, of["out"]["kernel"]) + of["out"]["bias"]

    def gelu(x):
        return x * (1 + erf(x / 2**0.5)) / 2

    b, side, width = len(x), x.shape[1] // patch, p["token"].shape[-1]
    cut = x.reshape(b, side, patch, side, patch, 3).swapaxes(2, 3).reshape(b, side * side, -1)
    rows = cut @ p["patches"]["kernel"].reshape(-1, width) + p["patches"]["bias"]
    rows = rows + _positions(side, side, width).reshape(-1, width)
    x = np.concatenate([np.repeat(p["token"], b, 0), rows], 1)
    for number in range(len(p["blocks"])):
        of = p["blocks"][number]
        x = x + attend(norm(x, of["norm1"]), of["attention"])
        h = gelu(norm(x, of["norm2"]) @ of["hidden"]["kernel"] + of["hidden"]["bias"])
        x = x + h @ of["out"]["kernel"] + of["out"]["bias"]
    return norm(x, p["norm"])[:, 0]


@pytest.mark.parametrize("remat", [False, True])
def test_the_forward_pass_is_the_papers_equations(remat):
    graph, state = _vit(patch=4, remat=remat)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    actual = jax.jit(lambda state, x: nnx.merge(graph, state)(x, train=True))(state, x)
    expected = _numpy(nnx.to_pure_dict(nnx.filter_state(state, nnx.Param)), x, 4, 3)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_linears_start_as_xaviers():
    """U(-b, b) with b^2 = 6 / (fan-in + fan-out)."""
    block = Block(VitFacts(96, 1, 3), dtype=jnp.float32, rngs=nnx.Rngs(0))
    for layer, fans in ((block.attention.query, 192), (block.attention.out, 192), (block.hidden, 480)):
        largest = np.max(np.abs(layer.kernel[...]))
        assert 0.98 < largest / (6 / fans) ** 0.5 <= 1


def test_positions_are_those_of_row_and_column():
    np.testing.assert_allclose(positions(2, 5, 16), _positions(2, 5, 16), rtol=1e-12)


def test_all_positions_differ():
    embeddings = positions(14, 14, 192).reshape(196, 192)
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)
    assert np.min(distances + 9 * np.eye(196)) > 0.5
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 192**0.5 / 2**0.5, rtol=1e-12)
