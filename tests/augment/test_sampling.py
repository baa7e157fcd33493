"""The distributions of the accelerator's draws, by the checks that the host's pass; `distributions.py` says what a p-value is here."""

import dataclasses
import math

import distributions
from distributions import DEVIATIONS, IMAGES, P_VALUE
import jax
import numpy as np
import pytest

from barlow_jax.augment import blur, color, views
from barlow_jax.config import recipe

VIEWS = recipe.Recipe().views


def _draw(number, positions, seed=0):
    """`{op: [n, 22]}` of view `number` at global positions."""
    jitted = jax.jit(views.draw, static_argnums=(0, 1))
    return jax.device_get(jitted(seed, number, np.asarray(positions, np.uint32)))


@pytest.fixture(scope="module")
def draws():
    return {name: _draw(number, np.arange(IMAGES)) for number, name in enumerate("ab")}


def _each(function, uniforms, *arguments):
    return jax.device_get(jax.jit(jax.vmap(lambda u: function(u, *arguments)))(uniforms))


def _orders(uniforms):
    """`[n, 4]`: the parts in the order that the precedence puts them in."""
    first = _each(color.jitter_precedence, uniforms, [True] * 4)
    return np.argsort(first.sum(axis=1), axis=1)


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("op_name", views.INTERPRETERS)
def test_each_op_is_applied_with_its_probability(draws, name, op_name):
    op, uniforms = getattr(VIEWS[name], op_name), draws[name][op_name]
    assert distributions.probability_p_value(_each(views.is_applied, uniforms, op), op.probability) > P_VALUE
    for wrong in (op.probability - 0.05, op.probability + 0.05):
        if 0 <= wrong <= 1:
            other = _each(views.is_applied, uniforms, dataclasses.replace(op, probability=wrong))
            assert distributions.probability_p_value(other, op.probability) < 1e-6


@pytest.mark.parametrize("name", "ab")
def test_factors_hue_and_sigma_are_uniform(draws, name):
    strengths = _each(color.jitter_strengths, draws[name]["jitter"][:, 1:], VIEWS[name].jitter)
    for drawn, low, high in zip(strengths, (0.6, 0.6, 0.8, -0.1), (1.4, 1.4, 1.2, 0.1), strict=True):
        distributions.assert_uniform(drawn, low, high)
    distributions.assert_uniform(
        _each(blur.blur_sigma, draws[name]["blur"][:, 1:], VIEWS[name].blur), 0.1, 2.0
    )
    strong = recipe.Jitter(brightness=1.5)
    distributions.assert_uniform(
        _each(color.jitter_strengths, draws[name]["jitter"][:, 1:], strong)[0], 0.0, 2.5
    )


@pytest.mark.parametrize("name", "ab")
def test_every_order_of_the_jitter_is_as_likely(draws, name):
    orders = _orders(draws[name]["jitter"][:, 1:])
    assert distributions.permutation_p_value(orders) > P_VALUE
    bent = draws[name]["jitter"][:, 1:].copy()
    bent[:, 4] **= 1.3
    assert distributions.permutation_p_value(_orders(bent)) < 1e-6, "another law is told apart"


def test_the_order_of_the_jitter_does_not_lean_on_its_factors(draws):
    u = draws["a"]["jitter"][:, 1:]
    factors = np.stack(_each(color.jitter_strengths, u, VIEWS["a"].jitter), axis=1)
    places = np.argsort(_orders(u), axis=1)
    assert np.abs(distributions.correlations(places, factors)).max() < DEVIATIONS / math.sqrt(IMAGES)


def _columns(uniforms):
    """`[n, k]`: every number that decides anything about a view."""
    used = {"crop": 22, "rotate": 2, "flip": 1, "jitter": 9, "grayscale": 1, "blur": 2, "solarize": 1}
    return np.concatenate([uniforms[name][:, :count] for name, count in used.items()], axis=1).astype(float)


def test_ops_and_the_two_views_of_an_image_are_independent(draws):
    distributions.assert_independent(np.concatenate([_columns(draws["a"]), _columns(draws["b"])], axis=1))


def test_whether_one_op_is_applied_says_nothing_about_another(draws):
    applied = [
        _each(views.is_applied, draws[name][op], getattr(VIEWS[name], op))
        for name in VIEWS
        for op in views.INTERPRETERS
        if 0 < getattr(VIEWS[name], op).probability < 1
    ]
    distributions.assert_pairs_independent(applied, 28)


@pytest.mark.parametrize("lag", [1, 2, 2048])
def test_one_image_and_the_next_are_independent(draws, lag):
    distributions.assert_lagged_independent(_columns(draws["a"]), lag)


def test_epochs_and_runs_draw_an_image_afresh():
    distributions.assert_drawn_afresh(
        lambda run, positions: np.concatenate(
            [_columns(_draw(view, positions, run)) for view in (0, 1)], axis=1
        )
    )
