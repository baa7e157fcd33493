"""Compares with torchvision's published sizes, and with a forward pass in NumPy and SciPy."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from barlow_jax.config.architectures import RESNETS
from barlow_jax.networks import resnet
from barlow_jax.networks.resnet import ResNet

# Parameter counts of torchvision (timm for ResNet-200), without the classifier (H x 1000 + 1000).
TORCHVISION = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
    "resnet152": 60_192_808 - 2_049_000,
    "resnet200": 64_673_832 - 2_049_000,
}


def _count(name, width=64):
    model = nnx.eval_shape(lambda: ResNet(RESNETS[name]._replace(width=width), rngs=nnx.Rngs(0)))
    return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("resnet152", "resnet200") else ()) for n in TORCHVISION],
)
def test_parameter_count_is_torchvisions(name):
    assert _count(name) == TORCHVISION[name]


@pytest.mark.parametrize(("width", "features", "millions"), [(128, 4096, 94), (256, 8192, 375)])
def test_wider_resnets_have_the_features_and_size_of_the_papers(width, features, millions):
    """SimCLR reports 94 M and 375 M for ResNet-50 x2 and x4."""
    assert RESNETS["resnet50"]._replace(width=width).features == features
    assert round(_count("resnet50", width) / 1e6) == millions


def _spatial_sizes(stem, pixels):
    sizes = []

    def trace():
        model = ResNet(RESNETS["resnet10"]._replace(width=4, stem=stem), rngs=nnx.Rngs(0))
        x = model.conv(jnp.zeros((1, pixels, pixels, 3)))
        sizes.append(x.shape[1])
        if model.pool:
            x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            sizes.append(x.shape[1])
        for stage in model.stages:
            for block in stage:
                x = block(x, train=False)
            sizes.append(x.shape[1])
        return x

    nnx.eval_shape(trace)
    return sizes


def test_the_imagenet_stem_halves_five_times():
    assert _spatial_sizes("imagenet", 224) == [112, 56, 56, 28, 14, 7]


def test_the_cifar_stem_keeps_the_resolution():
    assert _spatial_sizes("cifar", 32) == [32, 32, 16, 8, 4]


def _numpy_conv(x, kernel, stride):
    """Convolve `[H, W, C]` with `[k, k, C, O]`, with k // 2 zeros on every side."""
    pad = kernel.shape[0] // 2
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    planes = [correlate(x, kernel[..., o], "valid")[..., 0] for o in range(kernel.shape[-1])]
    return np.stack(planes, -1)[::stride, ::stride]


def _numpy_norm(x, norm):
    scale = np.asarray(norm.scale[...]) / np.sqrt(np.asarray(norm.var[...]) + norm.epsilon)
    return (x - np.asarray(norm.mean[...])) * scale + np.asarray(norm.bias[...])


def _numpy_block(x, block, stride):
    convs = [block.conv1, block.conv2] + ([block.conv3] if block.conv3 else [])
    norms = [block.norm1, block.norm2] + ([block.norm3] if block.conv3 else [])
    strides = [1, stride, 1] if block.conv3 else [stride, 1]
    y = x
    for index, (conv, norm, s) in enumerate(zip(convs, norms, strides, strict=True)):
        y = _numpy_norm(_numpy_conv(y, np.asarray(conv.kernel[...], np.float64), s), norm)
        y = np.maximum(y, 0) if index < len(convs) - 1 else y
    if block.shortcut:
        kernel = np.asarray(block.shortcut.conv.kernel[...], np.float64)
        x = _numpy_norm(_numpy_conv(x, kernel, stride), block.shortcut.norm)
    return np.maximum(x + y, 0)


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_forward_pass_is_that_of_the_equations(name):
    rng = np.random.default_rng(0)
    model = ResNet(RESNETS[name]._replace(width=4), rngs=nnx.Rngs(0))

    def randomize(leaf):  # running variances must be positive
        return jnp.asarray(rng.uniform(0.5, 1.0, leaf.shape) if leaf.ndim == 1 else leaf)

    nnx.update(model, jax.tree.map(randomize, nnx.state(model)))
    image = rng.normal(size=(32, 32, 3)).astype(np.float32)

    x = _numpy_conv(image, np.asarray(model.conv.kernel[...], np.float64), 2)
    x = np.maximum(_numpy_norm(x, model.norm), 0)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    x = windows.max((-1, -2))[::2, ::2]
    for number, stage in enumerate(model.stages):
        for index, block in enumerate(stage):
            x = _numpy_block(x, block, 2 if number > 0 and index == 0 else 1)
    actual = model(jnp.asarray(image)[None], train=False)[0]
    np.testing.assert_allclose(actual, x.mean((0, 1)), rtol=1e-4, atol=1e-5)


def test_residual_branches_start_at_zero():
    parts = {"conv": resnet.conv, "norm": nnx.BatchNorm, "rngs": nnx.Rngs(0)}
    for bottleneck, last in ((False, "norm2"), (True, "norm3")):
        layers = resnet.Block(8, 4, 1, bottleneck=bottleneck, **parts)
        assert not np.any(getattr(layers, last).scale[...]) and np.all(layers.norm1.scale[...] == 1)


def test_convolutions_start_with_hes_std():
    """The variance is 2 / fan-out; a convolution from 16 to 128 channels tells fan-out from fan-in."""
    kernel = np.asarray(resnet.conv(16, 128, 3, rngs=nnx.Rngs(0)).kernel[...])
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (3 * 3 * 128)), rtol=0.02)
    assert np.abs(kernel).max() > 3 * kernel.std(), "the normal is not truncated"
