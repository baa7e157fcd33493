"""Compares networks and training steps with torch's, from the same weights.

Where our code allows, both sides compute in float64: a ReLU whose input is 0 to float32 precision can flip,
and one flip changes a float32 gradient by 1e-3 in any implementation.

torch updates a running variance with the batch's unbiased variance, we with the biased one. The difference is
exactly a factor of n / (n - 1) on the added part, for n values per channel.
"""

from functools import partial
import pathlib
import runpy
import types

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from resnet_state_dict import to_torchvision

from barlow_jax.config.schema import Config, Network as NetworkConfig, Optim, Train
from barlow_jax.interop.layouts import read as from_torchvision
from barlow_jax.networks.heads import Projector
from barlow_jax.networks.network import Network
from barlow_jax.objectives.barlow_twins import barlow_twins_loss
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, train_step
from barlow_jax.types import Batch, TrainState

inputs = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("inputs.py"))))


def _close(actual, expected, tolerance, what=""):
    """Check a tolerance relative to the whole array, in the Euclidean norm."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    distance = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert distance < tolerance, f"{what}: {distance:.2e}"


def _errors(arrays, summary):
    """Return the errors of each array's norm and projection relative to its norm."""
    size = np.where(summary[:, :1] == 0, 1, summary[:, :1])
    return np.abs(inputs.summary(arrays) - summary) / size


def _weights(data):
    """Return the state dict that torch used."""
    shapes = [tuple(map(int, text.split())) for text in data["shapes"]]
    return {
        key: inputs.weight(key, s)
        for key, s in zip(data["keys"], shapes, strict=True)
        if "tracked" not in key
    }


def _projector_trees(tensors, prefix=""):
    """Return parameters and statistics of a Projector from torch's numbered layers."""
    last = max(int(key.removeprefix(prefix).split(".")[0]) for key in tensors if key.startswith(prefix))

    def norms(**names):
        return {
            n: {ours: tensors[f"{prefix}{3 * n + 1}.{theirs}"] for ours, theirs in names.items()}
            for n in range(last // 3)
        }

    layers = {n: {"kernel": tensors[f"{prefix}{3 * n}.weight"].T} for n in range(last // 3 + 1)}
    params = {"layers": layers, "norms": norms(scale="weight", bias="bias")}
    return params, {"norms": norms(mean="running_mean", var="running_var")}


def _projector_tensors(params, stats, prefix=""):
    """Invert `_projector_trees`."""
    tensors = {f"{prefix}{3 * n}.weight": np.asarray(p["kernel"]).T for n, p in params["layers"].items()}
    for tree, names in (
        (params, {"scale": "weight", "bias": "bias"}),
        (stats, {"mean": "running_mean", "var": "running_var"}),
    ):
        for n, norm in tree["norms"].items():
            tensors |= {
                f"{prefix}{3 * n + 1}.{theirs}": np.asarray(norm[ours]) for ours, theirs in names.items()
            }
    return tensors


def _as_torch(averages, data, updates):
    """Return our running statistics with torch's variances, after updates of momentum 0.9."""
    out = dict(averages)
    for key in averages:
        if key.endswith("running_var"):
            n = int(data[f"n/{key.removesuffix('.running_var')}"])
            kept = 0.9**updates * inputs.weight(key, averages[key].shape).astype(np.float64)
            out[key] = kept + (np.asarray(averages[key], np.float64) - kept) * n / (n - 1)
    return out


def _rms(x):
    return np.sqrt(np.mean(np.square(x)))


def _pick(tensors, keys):
    return {key: tensors[key] for key in keys}


def _run_projector(dtype, params, stats, x):
    """Return embeddings, the gradients of their inner product with signs, and the new statistics."""
    norm = partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5, dtype=dtype, use_fast_variance=False)
    first, *widths = inputs.PROJECTOR
    make = partial(Projector, first, widths, dtype=dtype, norm=norm)
    graph = nnx.graphdef(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))

    def loss(x, params):
        module = nnx.merge(graph, params, stats)
        z = module(x, train=True)
        signs = inputs.direction("embeddings", z.shape).astype(z.dtype)
        return jnp.vdot(z, signs), (z, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))

    gradients, (z, stats) = jax.grad(loss, argnums=(0, 1), has_aux=True)(x, params)
    return z, *gradients, stats


def _check_projector(data, dtype, convert, tolerance):
    keys = [key.removeprefix("after/") for key in data if key.startswith("after/")]
    keys += [key.removeprefix("gradient/") for key in data if key.startswith("gradient/")]
    shapes = {key: data.get(f"gradient/{key}", data.get(f"after/{key}")).shape for key in keys}
    start = {key: inputs.weight(key, shape) for key, shape in shapes.items()}
    params, stats = convert(_projector_trees(start))
    x = convert(inputs.images("representations", (inputs.PROJECTOR_ROWS, inputs.PROJECTOR[0])))
    z, by_x, by_params, stats = _run_projector(dtype, params, stats, x)
    _close(z, data["embeddings"], tolerance)
    _close(by_x, data["gradient"], tolerance)
    tensors = _projector_tensors(by_params, stats)
    counts = {f"n/{key.split('.')[0]}": inputs.PROJECTOR_ROWS for key in keys}
    for key, actual in _as_torch(tensors, counts, updates=1).items():
        _close(actual, data[f"{'after' if 'running' in key else 'gradient'}/{key}"], tolerance, key)


def test_the_projector_is_torchs_forward_and_backward(golden):
    _check_projector(golden("projector"), jnp.float32, partial(jax.tree.map, jnp.asarray), 1e-6)


def test_the_projector_has_torchs_equations(golden, double):
    _check_projector(golden("projector"), jnp.float64, double, 1e-13)


def _resnet50(data, dtype, convert, *, train):
    """Return features, gradients and, in training, statistics of our ResNet-50 with torch's weights."""
    encoder = from_torchvision(_weights(data))
    network = Network(NetworkConfig(**encoder.network_keys, projector=(1,), dtype=dtype))
    head = np.zeros((2048, 1), np.float32)
    params = convert({"encoder": encoder.params, "projector": {"layers": {0: {"kernel": head}}}})
    stats = convert({"encoder": encoder.batch_stats})
    images = convert(inputs.images("images", inputs.RESNET50_IMAGES).transpose(0, 2, 3, 1))

    def loss(params, stats):
        if train:
            outputs, stats = network.apply(params, stats, {"a": images})
            features = outputs["a"].representation
        else:
            features = network.encode(params, stats, images)
        signs = inputs.direction("features", features.shape).astype(np.float32)
        return jnp.vdot(features, signs), (features, stats)

    # Without LLVM's optimizations the float64 convolutions take four times as long.
    compute = jax.jit(jax.grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 3})
    gradients, (features, stats) = compute(params, stats)
    tensors = to_torchvision(gradients["encoder"], stats["encoder"])
    return features, _pick(tensors, data["parameters"]), _pick(tensors, data["statistics"])


def test_torchs_resnet50_takes_our_state_dict_strictly(golden):
    """Compares the order of keys, and shapes."""
    data = golden("resnet50")
    encoder = from_torchvision(_weights(data))
    tensors = to_torchvision(encoder.params, encoder.batch_stats)
    assert len(tensors) == 318 and list(tensors) == list(data["keys"])
    assert [" ".join(map(str, t.shape)) for t in tensors.values()] == list(data["shapes"])


# test_resnet.py compares the forward pass with NumPy; `test_training_steps_are_the_official_ones` compares
# the gradients of training, of a smaller network.
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_resnet50_has_torchs_equations_forward_and_backward(golden, double, mode):
    """Everything is float64, except the pooled features, which ours rounds to float32."""
    data = golden("resnet50")
    features, gradients, averages = _resnet50(data, "float64", double, train=mode == "train")
    _close(features, data[f"{mode}/features"], 1e-7)
    assert _errors(gradients, data[f"{mode}/gradients"]).max() < 1e-11
    if mode == "train":
        averages = _as_torch(averages, data, updates=1)
        assert _errors(averages, data["averages"]).max() < 1e-12


@pytest.mark.slow
def test_resnet50_in_float32_is_as_exact_as_torchs(golden):
    """In training ReLUs flip: two correct programs differ by their distances from float64."""
    data = golden("resnet50")
    features, gradients, averages = _resnet50(data, "float32", partial(jax.tree.map, jnp.asarray), train=True)
    averages = _as_torch(averages, data, updates=1)
    _close(features, data["train/features"], 4 * data["float32/train/features"])
    for actual, what in ((gradients, "train/gradients"), (averages, "averages")):
        errors = _errors(actual, data[what])[:, 1]
        assert _rms(errors) < 4 * _rms(data[f"float32/{what}"]), what


def _twins(data, convert):
    """Return parameters and statistics of encoder and projector from torch's weights."""
    weights = _weights(data)
    encoder = from_torchvision({key: t for key, t in weights.items() if key.startswith("backbone.")})
    assert (encoder.names, encoder.facts.width) == ((inputs.TWINS["encoder"],), inputs.TWINS["width"])
    head_params, head_stats = _projector_trees(weights, "projector.")
    return (
        convert({"encoder": encoder.params, "projector": head_params}),
        convert({"encoder": encoder.batch_stats, "projector": head_stats}),
    )


def _twins_tensors(params, stats):
    """Return the trees as torch's state dict."""
    encoder = to_torchvision(params["encoder"], stats["encoder"])
    return {f"backbone.{key}": t for key, t in encoder.items()} | _projector_tensors(
        params["projector"], stats["projector"], "projector."
    )


def _views(step):
    return {
        name: inputs.images(f"view {name} of {step}", inputs.TWINS_IMAGES).transpose(0, 2, 3, 1)
        for name in "ab"
    }


def _check_averages(tensors, data, step, tolerance):
    averages = _pick(tensors, data["statistics"])
    # Two updates per step, one for each view.
    for key, actual in _as_torch(averages, data, updates=2 * (step + 1)).items():
        _close(actual, data[f"{step}/averages/{key}"], tolerance, f"{key}, {step}")


def test_one_pass_per_view_gives_the_official_gradients_and_statistics(golden, double):
    """Everything is float64, except the pooled features and the loss."""
    data = golden("twins")
    params, stats = _twins(data, double)
    network = Network(NetworkConfig(**inputs.TWINS, dtype="float64"))
    views = double(_views(0))

    def loss(params, stats):
        outputs, stats = network.apply(params, stats, views)
        pair = outputs["a"].embedding, outputs["b"].embedding
        value = barlow_twins_loss(*pair, off_diagonal_weight=inputs.OFF_DIAGONAL_WEIGHT)
        return value, stats

    (value, stats), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, stats)
    tensors = _twins_tensors(gradients, stats)
    np.testing.assert_allclose(value, data["0/loss"], rtol=1e-6)
    assert _errors(_pick(tensors, data["parameters"]), data["0/gradients"]).max() < 1e-6
    for name in data:
        if name.startswith("gradient/"):
            _close(tensors[name.removeprefix("gradient/")], data[name], 1e-6, name)
    _check_averages(tensors, data, 0, 1e-6)


def _train_step():
    """Return the compiled step and its optimizer, at the official rates for a batch of 2048."""
    config = Config(
        network=NetworkConfig(**inputs.TWINS, dtype="float64"),
        optim=Optim(warmup_epochs=1.0),
        train=Train(num_epochs=inputs.TWINS_STEPS, batch_size=2048),
    )
    optimizer = optimizers.make_optimizer(config.optim, optimizers.learning_rates(config, steps_per_epoch=1))
    parts = StepParts(
        Network(config.network), make_objective(config.objective), optimizer, normalize=lambda views: views
    )
    return jax.jit(partial(train_step, parts=parts)), optimizer


def test_training_steps_are_the_official_ones(golden, double):
    """Everything is float64, except features, loss and learning rates."""
    data = golden("twins")
    start, stats = _twins(data, double)
    step, optimizer = _train_step()
    state = TrainState(jnp.zeros([], jnp.int32), start, stats, optimizer.init(start))
    for number in range(inputs.TWINS_STEPS):
        rows = len(_views(number)["a"])
        batch = Batch(double(_views(number)), np.zeros(rows, np.int32), np.arange(rows, dtype=np.int32))
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["loss"], data[f"{number}/loss"], rtol=1e-6)
        norm = np.linalg.norm(data[f"{number}/gradients"][:, 0])
        np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-6)
        tensors = _twins_tensors(jax.tree.map(jnp.subtract, state.params, start), state.batch_stats)
        assert _errors(_pick(tensors, data["parameters"]), data[f"{number}/moved"]).max() < 1e-6
        _check_averages(tensors, data, number, 1e-6)
