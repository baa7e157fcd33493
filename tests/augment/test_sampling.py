"""Distributions of the accelerator's random numbers, with the checks of the host's (`distributions.py`)."""

import dataclasses
import math

import distributions
from distributions import DEVIATIONS, IMAGES, P_VALUE
import jax
import numpy as np
import pytest

from barlow_jax.augment import blur, color, geometry, views
from barlow_jax.config import recipe

VIEWS = recipe.Recipe().views


def _sample(view_index, positions, seed=0):
    """Return `{op: [n, 22]}` uniforms of a view at global positions."""
    jitted = jax.jit(views.sample_uniforms, static_argnums=(0, 1))
    return jax.device_get(jitted(seed, view_index, np.asarray(positions, np.uint32)))


@pytest.fixture(scope="module")
def uniforms():
    return {name: _sample(number, np.arange(IMAGES)) for number, name in enumerate("ab")}


def _each(function, uniforms, *arguments):
    return jax.device_get(jax.jit(jax.vmap(lambda u: function(u, *arguments)))(uniforms))


def _orders(uniforms):
    """Return `[n, 4]` parts in their order of application."""
    precedes = _each(color.jitter_precedence, uniforms, [True] * 4)
    return np.argsort(precedes.sum(axis=1), axis=1)


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("op_name", views.OP_FUNCTIONS)
def test_each_op_is_applied_with_its_probability(uniforms, name, op_name):
    op, u = getattr(VIEWS[name], op_name), uniforms[name][op_name]
    assert distributions.probability_p_value(_each(views.is_applied, u, op), op.probability) > P_VALUE
    for wrong in (op.probability - 0.05, op.probability + 0.05):
        if 0 <= wrong <= 1:
            other = _each(views.is_applied, u, dataclasses.replace(op, probability=wrong))
            assert distributions.probability_p_value(other, op.probability) < 1e-6


@pytest.mark.parametrize("name", "ab")
def test_factors_hue_and_sigma_are_uniform(uniforms, name):
    strengths = _each(color.jitter_strengths, uniforms[name]["jitter"][:, 1:], distributions.JITTER)
    for sampled, low, high in zip(strengths, (0.4, 0.7, 0.9, -0.2), (1.6, 1.3, 1.1, 0.2), strict=True):
        distributions.assert_uniform(sampled, low, high)
    distributions.assert_uniform(
        _each(blur.blur_sigma, uniforms[name]["blur"][:, 1:], VIEWS[name].blur), 0.1, 2.0
    )
    strong = recipe.Jitter(brightness=1.5)
    distributions.assert_uniform(
        _each(color.jitter_strengths, uniforms[name]["jitter"][:, 1:], strong)[0], 0.0, 2.5
    )


def test_every_strength_of_the_recipe_is_used_on_host_and_accelerator():
    """At values other than the defaults, for uniforms of 3/4."""
    import tensorflow as tf

    from barlow_jax.data import host_ops

    jitter = recipe.Jitter(brightness=0.3, contrast=0.6, saturation=0.9, hue=0.25)
    image = np.array([49.0, 50.0, 200.0], np.float32).reshape(1, 1, 3)
    for jitters, blurs, rotations in ((color, blur, geometry), (host_ops, host_ops, host_ops)):
        u = np.full(9, 0.75, np.float32)
        u = tf.constant(u) if jitters is host_ops else u
        np.testing.assert_allclose(jitters.jitter_strengths(u, jitter), (1.15, 1.3, 1.45, 0.125), rtol=1e-6)
        assert blurs.blur_sigma(u, recipe.Blur(min_sigma=1.0, max_sigma=3.0)) == 2.5
        assert rotations.rotation(u, recipe.Rotate(max_degrees=30.0)) == 15
        inverted = np.asarray(jitters.solarize(image, u, recipe.Solarize(threshold=50)))
        assert inverted.ravel().tolist() == [49, 205, 55]


@pytest.mark.parametrize("name", "ab")
def test_every_order_of_the_jitter_is_equally_likely(uniforms, name):
    orders = _orders(uniforms[name]["jitter"][:, 1:])
    assert distributions.permutation_p_value(orders) > P_VALUE
    skewed = uniforms[name]["jitter"][:, 1:].copy()
    skewed[:, 4] **= 1.3
    assert distributions.permutation_p_value(_orders(skewed)) < 1e-6, "another distribution is not detected"


def test_the_order_of_the_jitter_is_independent_of_its_factors(uniforms):
    u = uniforms["a"]["jitter"][:, 1:]
    factors = np.stack(_each(color.jitter_strengths, u, VIEWS["a"].jitter), axis=1)
    ranks = np.argsort(_orders(u), axis=1)
    assert np.abs(distributions.correlations(ranks, factors)).max() < DEVIATIONS / math.sqrt(IMAGES)


def _columns(uniforms):
    """Return `[n, k]` uniforms: every one that affects a view."""
    used = {"crop": 22, "rotate": 2, "flip": 1, "jitter": 9, "grayscale": 1, "blur": 2, "solarize": 1}
    return np.concatenate([uniforms[name][:, :count] for name, count in used.items()], axis=1).astype(float)


def test_ops_and_the_two_views_of_an_image_are_independent(uniforms):
    distributions.assert_independent(
        np.concatenate([_columns(uniforms["a"]), _columns(uniforms["b"])], axis=1)
    )


def test_ops_are_applied_independently(uniforms):
    applied = [
        _each(views.is_applied, uniforms[name][op], getattr(VIEWS[name], op))
        for name in VIEWS
        for op in views.OP_FUNCTIONS
        if 0 < getattr(VIEWS[name], op).probability < 1
    ]
    distributions.assert_pairs_independent(applied, 28)


@pytest.mark.parametrize("lag", [1, 2, 2048])
def test_one_image_and_the_next_are_independent(uniforms, lag):
    distributions.assert_lagged_independent(_columns(uniforms["a"]), lag)


def test_epochs_and_runs_augment_an_image_independently():
    distributions.assert_resampled(
        lambda run, positions: np.concatenate(
            [_columns(_sample(view, positions, run)) for view in (0, 1)], axis=1
        )
    )
