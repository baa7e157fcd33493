"""Depths of parameters for layer-wise learning rates, of each family."""

from flax import nnx
import jax
import numpy as np
import pytest

from barlow_jax.config.architectures import VITS, VitFacts
from barlow_jax.config.schema import Network
from barlow_jax.networks.encoders import layer_depths, make_encoder


def _depths(encoder):
    """Return the depth by path."""
    module = nnx.eval_shape(
        lambda: make_encoder(Network(encoder=encoder), nnx.BatchNorm, nnx.Rngs(0), channels=3)
    )
    depths = layer_depths(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    leaves, _ = jax.tree.flatten_with_path(depths)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): depth for path, depth in leaves}


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (
            "resnet18",
            {"conv/kernel": 0, "norm/scale": 0, "stages/0/0/conv1/kernel": 1, "stages/3/1/norm2/bias": 8},
        ),
        (
            "vit_small_patch14_reg4_dinov2",
            {"patches/kernel": 0, "token": 0, "registers": 0, "positions": 0, "blocks/0/scale1": 1}
            | {"blocks/11/attention/query/kernel": 12, "norm/scale": 13},
        ),
        ("vit_base_patch16_clip_224", {"pre_norm/scale": 0, "norm/bias": 13}),
        (
            "convnext_tiny",
            {"downsamplings/0/conv/kernel": 0, "stages/0/2/scale": 3, "downsamplings/1/conv/kernel": 4}
            | {"stages/1/0/scale": 4, "stages/3/2/out/kernel": 18, "norm/scale": 19},
        ),
    ],
)
def test_depths_count_the_blocks(encoder, expected):
    depths = _depths(encoder)
    assert {path: depths[path] for path in expected} == expected
    assert set(depths.values()) == set(range(max(depths.values()) + 1))


def test_grid_and_pool_are_those_of_the_config(monkeypatch):
    monkeypatch.setitem(VITS, "vit_tiny", VitFacts(8, 1, 2, 4, 16))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

    def encode(**network):
        config = Network(encoder="vit_tiny", dtype="float32", position_grid=2, **network)
        module = make_encoder(config, nnx.BatchNorm, nnx.Rngs(0), channels=3)
        assert module.positions.shape == (1, 5, 8)
        return np.asarray(module(images, train=False))

    token, mean, normed = encode(), encode(pool="avg"), encode(pool="fc_norm")
    assert np.ptp(token - mean) > 0.01 and np.ptp(mean.std(axis=1)) > 1e-6
    np.testing.assert_allclose(normed.std(axis=1), 1, rtol=1e-3)
