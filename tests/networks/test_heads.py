"""Tests of projector and classifier."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.networks.heads import Classifier, Projector


def _parameters(projector):
    return sum(p.size for p in jax.tree.leaves(nnx.state(projector, nnx.Param)))


def test_the_papers_projector_has_151_million_parameters():
    projector = nnx.eval_shape(lambda: Projector(2048, (8192, 8192, 8192), rngs=nnx.Rngs(0)))
    assert _parameters(projector) == 2048 * 8192 + 2 * 8192 * 8192 + 4 * 8192


def test_without_batch_norm_only_the_matrices_are_left():
    projector = Projector(8, (16, 4), batch_norm=False, rngs=nnx.Rngs(0))
    assert _parameters(projector) == 8 * 16 + 16 * 4


def test_embedding_is_linear_norm_relu_linear():
    projector = Projector(6, (5, 4), rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    first, second = (np.asarray(layer.kernel[...]) for layer in projector.layers)
    hidden = x @ first
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    np.testing.assert_allclose(
        projector(jnp.asarray(x), train=True), np.maximum(hidden, 0) @ second, rtol=1e-4, atol=1e-5
    )


def test_linears_start_as_torchs():
    """U(-b, b) with b = 1 / sqrt(fan-in), weights and biases."""
    layer = Projector(64, (400, 2), biases="all", rngs=nnx.Rngs(0)).layers[0]
    for values in (layer.kernel[...], layer.bias[...]):
        assert 0.98 / 8 < np.max(values) <= 1 / 8 and -1 / 8 <= np.min(values) < -0.98 / 8
        np.testing.assert_allclose(np.std(values), 1 / 8 / 3**0.5, rtol=0.1)


def test_a_single_layer_is_a_bare_matrix():
    projector = Projector(6, (3,), rngs=nnx.Rngs(0))
    x = np.ones((2, 6), np.float32)
    np.testing.assert_allclose(
        projector(x, train=True), x @ np.asarray(projector.layers[0].kernel[...]), rtol=1e-6
    )


def test_the_classifier_starts_as_the_probe_does():
    head = Classifier(400, 300, rngs=nnx.Rngs(0))
    kernel = np.asarray(head.layer.kernel[...])
    np.testing.assert_allclose((kernel.mean(), kernel.std()), (0, 0.01), atol=1e-4)
    assert not np.any(head.layer.bias[...])
    assert head(jnp.ones((2, 400), jnp.bfloat16)).dtype == jnp.float32
