"""The loss, its gradients and the step for collapsed, extreme and invalid input.

Finite input gives a finite loss and finite gradients, NaN stays NaN, and one row is an error. Values are
compared with equation 1 in float64 NumPy, within the range that `standardize` documents.
"""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.augment.views import normalize_views
from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Byol, Simsiam
from barlow_jax.config.schema import Config, Train
from barlow_jax.config.validation import Facts, validate
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.losses.embedding_statistics import standardized_embedding_statistics
from barlow_jax.networks.network import Network
from barlow_jax.objectives.barlow_twins import barlow_twins_loss, barlow_twins_terms, cross_correlation
from barlow_jax.objectives.registry import make_objective
from barlow_jax.optim import optimizers
from barlow_jax.training.step import StepParts, compile_step, init_state
from barlow_jax.types import Batch, Outputs, RunInfo

WEIGHT = 0.0051
# The float32 mean of 48 or 100 equal numbers is not always that number.
SHAPES = ((48, 80), (100, 30))


@pytest.fixture(params=["direct", "gram"])
def form(request):
    return request.param


@pytest.fixture(params=["float32", "bfloat16"])
def operand_dtype(request):
    return jnp.dtype(request.param)


@pytest.fixture(params=SHAPES, ids=str)
def pair(request):
    first, noise = np.random.default_rng(0).normal(size=(2, *request.param)).astype(np.float32)
    return first, first + noise


def _reference(z_a, z_b):
    """Equation 1 in float64."""
    a, b = (np.asarray(z, np.float64) for z in (z_a, z_b))
    a, b = ((z - z[0] - (z - z[0]).mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    return np.sum(np.where(np.eye(len(c), dtype=bool), (1 - c) ** 2, WEIGHT * c**2))


METHODS = {
    "barlow_twins": {},
    "vicreg": {},
    "byol": {"byol": Byol(covariance_weight=1.0, target_momentum=0.0)},
    "simsiam": {"simsiam": Simsiam(covariance_weight=1.0)},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_objective_computes_its_products_as_the_config_says(name, form, operand_dtype):
    """Which matrices the program holds, and in which dtype, for 6 rows of 10 features."""
    settings = {"form": form, "operand_dtype": operand_dtype.name, **METHODS[name]}
    objective = make_objective(config_lib.Objective(name=name, **settings), RunInfo(width=10, batch_size=6))
    outputs = {view: Outputs(None, jnp.ones((6, 10)), prediction=jnp.ones((6, 10))) for view in "ab"}
    program = str(jax.make_jaxpr(lambda outputs: objective.loss(outputs, {}, None)[0])(outputs))
    assert ("[10,10]" in program) == (form == "direct") and ("[6,6]" in program) == (form == "gram")
    assert ("bf16[" in program) == (operand_dtype == jnp.bfloat16)


@functools.cache
def _compiled(form, operand_dtype):
    loss = partial(barlow_twins_loss, off_diagonal_weight=WEIGHT, form=form, operand_dtype=operand_dtype)
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def _value_and_gradients(pair, form, operand_dtype=jnp.float32):
    value, gradients = _compiled(form, operand_dtype)(*pair)
    return float(value), [np.asarray(g, np.float64) for g in gradients]


_terms = jax.jit(barlow_twins_terms, static_argnames="form")
_statistics = jax.jit(standardized_embedding_statistics)
_correlation = jax.jit(cross_correlation)


def _assert_finite(value, gradients):
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("offset", [0.0, 2.6, 1e4, 1e6, 3e28])
@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_a_feature_of_vanishing_variance_counts_as_uncorrelated(pair, form, operand_dtype, offset, noise):
    """In both views, so that a rounding error of the mean would look like perfect agreement."""
    for z in pair:
        z[:, 3] = offset + noise * z[:, 3]
    value, gradients = _value_and_gradients(pair, form, operand_dtype)
    _assert_finite(value, gradients)
    np.testing.assert_allclose(value, _reference(*pair), rtol=2e-4 if operand_dtype == jnp.bfloat16 else 1e-5)
    # Float32 represents noise of 1e-8 around 0; it is far below epsilon's root, 3e-3.
    np.testing.assert_allclose(_correlation(*pair)[3], 0, atol=1e-4)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.1, -7.3), (1e4, 1e6)])
def test_a_collapsed_batch_costs_one_for_each_feature(form, operand_dtype, values):
    pair = [np.full((48, 32), value, np.float32) for value in values]
    value, gradients = _value_and_gradients(pair, form, operand_dtype)
    assert value == 32
    np.testing.assert_array_equal(gradients, 0)
    statistics = _statistics(*pair)
    assert statistics["embedding_std_min"] == statistics["embedding_std_mean"] == 0
    assert _terms(*pair, form=form).diagonal_mean == 0


def test_two_images_are_enough(form):
    pair = np.random.default_rng(0).normal(size=(2, 2, 16)).astype(np.float32)
    value, gradients = _value_and_gradients(pair, form)
    _assert_finite(value, gradients)
    np.testing.assert_allclose(value, _reference(*pair), rtol=1e-5)


def test_a_batch_of_one_is_an_error_that_names_the_remedy(form):
    one = np.ones((1, 8), np.float32)
    with pytest.raises(ValueError, match=r"2 rows or more.*larger batch"):
        barlow_twins_loss(one, one, off_diagonal_weight=WEIGHT, form=form)
    problems = validate(Config(train=Train(batch_size=1)), Facts(num_devices=1))
    assert "config.train.batch_size is 1, but must be an integer >= 2." in problems


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**-20, 2.0**20, 2.0**42, 2.0**62])
def test_loss_and_gradients_are_right_up_to_1e19(pair, form, scale):
    """Powers of two change no digit: above epsilon the gradient at s z is that at z over s."""
    value, gradients = _value_and_gradients([z * np.float32(scale) for z in pair], form)
    np.testing.assert_allclose(value, _reference(*(z * scale for z in pair)), rtol=1e-5)
    if scale > 1:
        expected = _value_and_gradients([z * np.float32(2.0**12) for z in pair], form)[1]
        for actual, reference in zip(gradients, expected, strict=True):
            error = actual * (scale / 2.0**12) - reference
            assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(reference)
    else:
        _assert_finite(value, gradients)


EXTREMES = {
    "1e30": lambda z, rng: np.sign(z) * 1e30,
    "the largest": lambda z, rng: np.sign(z) * 3.38e38,
    "1e-30": lambda z, rng: np.sign(z) * 1e-30,
    "subnormal": lambda z, rng: np.sign(z) * 1e-39,
    "every magnitude by feature": lambda z, rng: z * 10.0 ** rng.uniform(-40, 37, z.shape[1]),
    "every magnitude": lambda z, rng: z * 10.0 ** rng.uniform(-40, 37, z.shape),
    "one huge value": lambda z, rng: np.where(np.arange(z.size).reshape(z.shape) == 5, 3.38e38, z),
}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("extreme", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("both", [True, False])
def test_any_finite_embedding_gives_a_finite_loss_and_gradients(
    pair, form, operand_dtype, dtype, extreme, both
):
    rng = np.random.default_rng(1)
    pair = [
        jnp.asarray(extreme(z.astype(np.float64), rng) if both or view == 0 else z, dtype)
        for view, z in enumerate(pair)
    ]
    assert all(bool(jnp.all(jnp.isfinite(z))) for z in pair)
    _assert_finite(*_value_and_gradients(pair, form, operand_dtype))


def test_beyond_float32_a_feature_counts_as_collapsed_and_its_std_is_infinite(pair, form):
    pair = [np.sign(z) * np.float32(1e30) for z in pair]
    value, gradients = _value_and_gradients(pair, form)
    assert value == pair[0].shape[1]
    np.testing.assert_array_equal(gradients, 0)
    assert _statistics(*pair)["embedding_std_mean"] == np.inf


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 7])
def test_invalid_input_is_propagated(pair, form, operand_dtype, invalid, row):
    pair[1][row, 2] = invalid
    value, gradients = _value_and_gradients(pair, form, operand_dtype)
    assert np.isnan(value)
    assert all(np.any(np.isnan(g)) for g in gradients)
    assert np.isnan(_terms(*pair, form=form).invariance)
    assert np.isnan(_statistics(*pair)["embedding_std_mean"])


def _steps(config, devices, images, num_steps=2):
    """Return state and metrics after steps on one batch of `[N, height, width, 3]` uint8 images."""
    layout, rates = Layout(make_mesh(devices)), optimizers.learning_rates(config, steps_per_epoch=4)
    parts = StepParts(
        network=Network(config.network, layout.parallel_linear),
        objective=make_objective(config.objective, RunInfo(reshard=layout.reshard)),
        optimizer=optimizers.make_optimizer(config.optim, rates),
        normalize=partial(normalize_views, recipe=config.recipe),
    )
    init = partial(init_state, parts=parts)
    shardings = layout.state_shardings(jax.eval_shape(init, jax.random.key(0)))
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
    rows = np.arange(len(images), dtype=np.int32)
    batch = Batch({"a": images, "b": images}, rows, rows)
    step = compile_step(layout, state, parts)
    for _ in range(num_steps):
        state, metrics = step(state, layout.shard(batch))
    return jax.device_get((state, metrics))


@pytest.mark.parametrize(
    ("form", "dtype", "num_devices"), [("direct", "float32", 8), ("gram", "bfloat16", 1)]
)
def test_a_batch_of_equal_images_leaves_a_finite_state(small_config, typed, num_devices, form, dtype):
    """No BatchNorm sees any variance: embeddings and correlation are 0 up to rounding."""
    small_config.train.batch_size = 16
    small_config.optim.warmup_epochs = 0.0
    small_config.objective.form = form
    small_config.network.dtype = dtype
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    config, devices = typed(small_config), jax.devices()[:num_devices]
    state, metrics = _steps(config, devices, np.repeat(image, 16, axis=0))
    for leaf in jax.tree.leaves((state, metrics)):
        assert np.all(np.isfinite(leaf))
    assert metrics["embedding_std_mean"] < 1e-3 and abs(metrics["diagonal_mean"]) < 1e-2
    width = small_config.network.projector[-1]
    np.testing.assert_allclose(metrics["loss"], small_config.objective.scale * width, rtol=2e-2)
