"""Compares with algorithm 1 of the paper in float64 NumPy, for the same permutations."""

import dataclasses
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import WMse
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.w_mse import w_mse_loss, w_mse_terms
from barlow_jax.types import Grouping, LossContext, Outputs, RunInfo

KEY = jax.random.key(3)
ROWS, WIDTH, SUB_BATCH = 48, 6, 16


def _embeddings(views=2, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(ROWS, WIDTH))
    return [(common + rng.normal(size=(ROWS, WIDTH)) + 1).astype(np.float32) for _ in range(views)]


def _orders(iterations):
    return [np.asarray(jax.random.permutation(k, ROWS)) for k in jax.random.split(KEY, iterations)]


def _reference(embeddings, sub_batch=SUB_BATCH, iterations=1, shrinkage=0.0):
    losses = []
    for order in _orders(iterations):
        units = []
        for v in embeddings:
            v, z = np.asarray(v, np.float64), np.zeros((ROWS, WIDTH))
            for rows in order.reshape(-1, sub_batch):
                s = (1 - shrinkage) * np.cov(v[rows], rowvar=False) + shrinkage * np.eye(WIDTH)
                z[rows] = (v[rows] - v[rows].mean(0)) @ np.linalg.inv(np.linalg.cholesky(s)).T
            units.append(z / np.linalg.norm(z, axis=1, keepdims=True))
        losses += [np.mean(2 - 2 * np.sum(a * b, axis=1)) for a, b in combinations(units, 2)]
    return np.mean(losses)


def _value_and_gradients(embeddings, **kwargs):
    kwargs = {"sub_batch": SUB_BATCH} | kwargs
    return jax.jit(jax.value_and_grad(partial(w_mse_loss, key=KEY, **kwargs)))(embeddings)


CASES = {
    "2 views": (2, {}),
    "4 views": (4, {}),
    "3 iterations": (2, {"iterations": 3}),
    "the whole batch": (2, {"sub_batch": ROWS}),
    "shrinkage": (3, {"shrinkage": 0.2}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_algorithm_1(case, devices):
    """Runs on one device, and on eight, where sub-batches mix rows of all devices."""
    views, settings = CASES[case]
    layout, embeddings = Layout(make_mesh(devices)), _embeddings(views)
    value, gradients = _value_and_gradients([jax.device_put(z, layout.batch) for z in embeddings], **settings)
    np.testing.assert_allclose(value, _reference(embeddings, **settings), rtol=2e-6)
    rng, wide = np.random.default_rng(1), [z.astype(np.float64) for z in embeddings]
    for _ in range(3):
        directions = rng.normal(size=(views, ROWS, WIDTH))
        above, below = (
            _reference([z + step * d for z, d in zip(wide, directions, strict=True)], **settings)
            for step in (1e-5, -1e-5)
        )
        actual = sum(map(np.vdot, gradients, directions))
        assert abs(actual - (above - below) / 2e-5) < 1e-5 * np.linalg.norm(gradients)


def test_one_permutation_is_shared_by_the_views():
    """Views that differ by an affine map are equal after whitening, whatever rows are grouped."""
    (z,) = _embeddings(1)
    mixing = np.triu(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)), 1) / 4 + np.eye(WIDTH)
    np.testing.assert_allclose(w_mse_loss([z, z @ mixing + 3], KEY, sub_batch=SUB_BATCH), 0, atol=1e-5)


def test_permutations_depend_on_iteration_and_key():
    embeddings = _embeddings()
    losses = [w_mse_loss(embeddings, jax.random.key(seed), sub_batch=SUB_BATCH) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert len({tuple(order) for order in _orders(4)}) == 4


def test_views_have_no_order():
    embeddings = _embeddings(3)
    loss = partial(w_mse_loss, key=KEY, sub_batch=SUB_BATCH)
    np.testing.assert_allclose(loss(embeddings[::-1]), loss(embeddings), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1e6, 1e15])
def test_the_scale_of_embeddings_changes_nothing(scale):
    embeddings = _embeddings()
    value, gradients = _value_and_gradients([np.float32(scale) * z for z in embeddings])
    expected, slopes = _value_and_gradients(embeddings)
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(np.float32(scale) * gradient, slope, atol=1e-5 * np.abs(slope).max())


def test_half_precision_embeddings_are_read_in_float32():
    embeddings = [jnp.asarray(z, jnp.bfloat16) for z in _embeddings()]
    loss = w_mse_loss(embeddings, KEY, sub_batch=SUB_BATCH)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, _reference([np.float32(z) for z in embeddings]), rtol=2e-6)


def _singular():
    first, second = _embeddings()
    return {
        "constant": [np.full_like(first, 0.1), second],
        "one feature constant": [np.where(np.arange(WIDTH) == 2, np.float32(0.1), first), second],
        "one feature twice": [first[:, [0, 1, 2, 3, 4, 0]], second],
    }


@pytest.mark.parametrize("case", _singular())
def test_a_singular_covariance_is_inf_with_finite_gradients(case):
    value, gradients = _value_and_gradients(_singular()[case])
    assert value == np.inf and np.all(np.isfinite(gradients))
    assert (
        w_mse_terms(_singular()[case], KEY, sub_batch=SUB_BATCH, iterations=1, shrinkage=0.0).smallest_pivot
        == 0
    )


@pytest.mark.parametrize("case", _singular())
def test_shrinkage_makes_it_finite(case):
    value, gradients = _value_and_gradients(_singular()[case], shrinkage=0.1)
    assert 0 < value <= 4 and np.all(np.isfinite(gradients))


def test_collapsed_views_have_no_low_loss_under_shrinkage():
    """The cosine of zero vectors counts as 0."""
    assert _value_and_gradients([np.ones((ROWS, WIDTH), np.float32)] * 2, shrinkage=0.1)[0] == 2


def _make(batch_size=ROWS, views=("a", "b"), width=WIDTH, scale=1.0, **settings):
    settings = {"sub_batch": SUB_BATCH} | settings
    config = config_lib.Objective(name="w_mse", w_mse=WMse(**settings), scale=scale)
    return make_objective(config, RunInfo(views, width, batch_size))


def test_the_objective_takes_all_views_and_the_step_s_key():
    embeddings, views = _embeddings(3), ("a", "b", "c")
    objective = _make(views=views, scale=0.5, iterations=2, shrinkage=0.1)
    outputs = {view: Outputs(None, z) for view, z in zip(views, embeddings, strict=True)}
    value, memory, metrics = objective.loss(outputs, {}, LossContext(jnp.zeros(ROWS, jnp.int32), key=KEY))
    expected = _reference(embeddings, iterations=2, shrinkage=0.1)
    np.testing.assert_allclose(value, 0.5 * expected, rtol=2e-6)
    np.testing.assert_allclose(metrics["cosine"], 1 - expected / 2, rtol=1e-5)
    assert metrics["loss"] == value and 0.01 < metrics["smallest_pivot"] < 1 and memory == {}
    assert metrics["embedding_std_min"] == pytest.approx(min(z.std(0).min() for z in embeddings), rel=1e-5)
    assert objective.grouping == Grouping(encoder="view", heads="together")


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"sub_batch": 20}, "is 20, .*batch_size, 48"),
        ({"sub_batch": 96}, "is 96, .*batch_size"),
        ({"sub_batch": 8}, "is 8, .*12.*projector.*shrinkage"),
        ({"sub_batch": 1, "shrinkage": 0.1}, "is 1, .*2 or more"),
    ],
)
def test_invalid_settings_are_refused(settings, pattern):
    with pytest.raises(UserError, match=f"config.objective.w_mse.sub_batch {pattern}"):
        _make(**settings)


def test_shrinkage_allows_small_sub_batches():
    for sub_batch in (2, 4):
        value = w_mse_loss(_embeddings(), KEY, sub_batch=sub_batch, shrinkage=0.1)
        assert np.isfinite(value) and _make(sub_batch=sub_batch, shrinkage=0.1)


def test_the_official_settings_are_allowed():
    defaults = dataclasses.asdict(WMse())
    _make(batch_size=512, width=64, **defaults)
    _make(batch_size=256, width=128, **defaults | {"sub_batch": 256})


@pytest.mark.parametrize(
    ("shapes", "sub_batch"),
    [([(8, 2)], 4), ([(8, 2), (8, 3)], 4), ([(8,), (8,)], 4), ([(8, 2)] * 2, 3), ([(8, 2)] * 2, 1)],
)
def test_wrong_shapes_are_named(shapes, sub_batch):
    with pytest.raises(ValueError, match=r"\[N, D\]|sub_batch"):
        w_mse_loss([jnp.zeros(shape) for shape in shapes], KEY, sub_batch=sub_batch)
