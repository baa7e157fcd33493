"""Methods that derive views from views in the step: against their definitions, on one device and on eight."""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from barlow_jax.augment.views import normalize_views
from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import MixedBarlowTwins
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.losses.feature_anchor import with_feature_anchor
from barlow_jax.networks import encoders
from barlow_jax.networks.network import Network
from barlow_jax.objectives.mixed_barlow_twins import sample_mixture
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, compile_step, init_state
from barlow_jax.types import Batch, LossContext, Outputs

KEY, ROWS = jax.random.key(5), 32
MIXED = config_lib.Objective(
    name="mixed_barlow_twins",
    scale=0.5,
    mixed_barlow_twins=MixedBarlowTwins(off_diagonal_weight=0.02, mixing_weight=3.0),
)
ROTATION = config_lib.Objective(name="rotation", scale=2.0)


class LinearEncoder(nnx.Module):
    """Linear layer on the pixels: it compiles in a second, and its features change with the images."""

    def __init__(self, config, norm, rngs, **image):
        self.layer = nnx.Linear(8 * 8 * 3, encoders.representation_width(config, **image), rngs=rngs)

    def __call__(self, x, *, train):
        return self.layer(x.reshape(len(x), -1))


def _mixed_loss(a, b, mixed):
    """Equations of the paper with the normalization of BatchNorm, in float64, with the D x D matrices."""
    mixture = sample_mixture(KEY, ROWS)
    weight, order = float(mixture.weight), np.asarray(mixture.order)
    a, b, mixed = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b, mixed))
    c = a.T @ b / ROWS
    off_diagonal = np.sum(c**2) - np.sum(np.diag(c) ** 2)
    mixing = 0
    for view in (a, b):
        truth = weight * a.T @ view / ROWS + (1 - weight) * b[order].T @ view / ROWS
        mixing += np.sum((mixed.T @ view / ROWS - truth) ** 2)
    return 0.5 * (np.sum((1 - np.diag(c)) ** 2) + 0.02 * off_diagonal + 0.02 * 3 * mixing)


@pytest.mark.parametrize("width", [12, 80])  # direct, and gram
def test_the_mixed_loss_and_its_gradients_are_the_definitions(width, devices):
    rng, layout = np.random.default_rng(0), Layout(make_mesh(devices))
    views = [rng.normal(size=(ROWS, width)).astype(np.float32) for _ in range(3)]
    objective = make_objective(MIXED)

    def loss(embeddings):
        outputs = dict(zip(("a", "b", "mixed"), (Outputs(z, z) for z in embeddings), strict=True))
        return objective.loss(outputs, {}, LossContext(jnp.zeros(ROWS), key=KEY))[0]

    arrays = [jax.device_put(z, layout.batch) for z in views]
    value, gradients = jax.jit(jax.value_and_grad(loss))(arrays)
    np.testing.assert_allclose(value, _mixed_loss(*views), rtol=1e-5)
    wide = [z.astype(np.float64) for z in views]
    directions = rng.normal(size=(3, ROWS, width))
    above, below = (
        _mixed_loss(*(z + step * d for z, d in zip(wide, directions, strict=True))) for step in (1e-5, -1e-5)
    )
    actual = sum(map(np.vdot, gradients, directions))
    assert abs(actual - (above - below) / 2e-5) < 2e-5 * np.linalg.norm(gradients)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_mixture_is_that_of_the_images_in_0_to_1(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, ROWS, 4, 4, 3)).astype(dtype)
    if dtype == np.float32:
        a, b = a / np.float32(255), b / np.float32(255)
    views = make_objective(MIXED).derive({"a": a, "b": b}, KEY)
    weight, order = sample_mixture(KEY, ROWS)
    scale = 255 if dtype == np.uint8 else 1
    expected = (float(weight) * a + (1 - float(weight)) * b[np.asarray(order)].astype(np.float64)) / scale
    np.testing.assert_allclose(views["mixed"], expected, atol=1e-6)
    assert views["a"] is a and sorted(np.asarray(order)) == list(range(ROWS))
    others = [sample_mixture(jax.random.key(seed), ROWS) for seed in range(200)]
    weights = np.array([float(other.weight) for other in others])
    assert abs(weights.mean() - 0.5) < 0.06 and weights.min() < 0.05 < 0.95 < weights.max()


def test_rotations_are_quarter_turns_with_their_number_as_label():
    objective, rng = make_objective(ROTATION), np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 5, 5, 3), np.uint8)
    views = objective.derive({"a": images}, KEY)
    for turns, view in enumerate(views.values()):
        np.testing.assert_array_equal(view, [np.rot90(image, turns) for image in images])
    logits = rng.normal(size=(4, 3, 4)).astype(np.float32)
    outputs = {name: Outputs(None, logits=jnp.asarray(x)) for name, x in zip(views, logits, strict=True)}
    loss, _, metrics = objective.loss(outputs, {}, LossContext(jnp.full(3, -1)))
    labels = np.repeat(np.arange(4), 3)
    probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float64))).reshape(12, 4)
    np.testing.assert_allclose(loss, 2 * log_loss(labels, probabilities), rtol=1e-6)
    assert metrics["top1"] == np.mean(logits.reshape(12, 4).argmax(1) == labels)


@pytest.mark.parametrize("method", ["mixed_barlow_twins", "rotation"])
def test_steps_agree_on_one_device_and_eight_and_repeat(small_config, typed, method, relative):
    small_config.optim.name, small_config.objective.name = "adamw", method
    small_config.network.num_classes = 4 * (method == "rotation")
    config, rng = typed(small_config), np.random.default_rng(0)
    names = "ab" if method == "mixed_barlow_twins" else "a"
    batch = Batch({n: rng.integers(0, 256, (ROWS, 8, 8, 3), np.uint8) for n in names}, *[np.arange(ROWS)] * 2)
    parts = StepParts(
        network=Network(config.network, make_encoder=LinearEncoder),
        objective=make_objective(config.objective),
        optimizer=optimizers.make_optimizer(config.optim, optimizers.learning_rates(config, 4)),
        normalize=partial(normalize_views, recipe=config.recipe),
    )
    state = jax.jit(partial(init_state, parts=parts))(jax.random.key(0))
    state, results = jax.device_get(state), []
    for number in (1, 8):
        layout = Layout(make_mesh(jax.devices()[:number]))
        step = compile_step(layout, state, parts)
        start = partial(jax.device_put, state, layout.state_shardings(state))
        after, metrics = jax.device_get(step(start(), layout.shard(batch)))
        again = jax.device_get(step(start(), layout.shard(batch))[0])
        jax.tree.map(np.testing.assert_array_equal, after.params, again.params)
        results.append((metrics["loss"], after.batch_stats, metrics["gradient_norm"]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    np.testing.assert_allclose(results[1][2], results[0][2], rtol=1e-4)
    assert relative(results[1][1], results[0][1]) < 1e-5


def test_the_cost_of_the_head_includes_the_derived_view_and_its_loss_alone_is_refused(small_config, typed):
    small_config.objective.name = "mixed_barlow_twins"
    experiment = Experiment.from_config(typed(small_config))
    rows = experiment.config.train.batch_size
    lowered, _ = lowering.lower(experiment, EpochSampler(0, rows, rows), "head")
    assert "mixing" in lowered.out_info[1]
    with pytest.raises(UserError):
        lowering.jit_loss(experiment.config, experiment.layout)


def test_a_feature_anchor_ignores_derived_views():
    rng = np.random.default_rng(0)
    outputs = {n: Outputs(*rng.normal(size=(2, ROWS, 6)).astype(np.float32)) for n in ("a", "b", "mixed")}
    objective = with_feature_anchor(make_objective(MIXED), 1.0, ("a", "b"))
    context = LossContext(jnp.zeros(ROWS), key=KEY, targets={name: outputs[name] for name in "ab"})
    assert objective.loss(outputs, {}, context)[2]["feature_drift"] == pytest.approx(0, abs=1e-5)
