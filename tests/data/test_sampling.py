"""Distributions in the augmentation: moments, Kolmogorov-Smirnov, chi-square and binomial tests.

The crop's is tested in `test_crop_distribution.py`; `distributions.py` explains the origin of the parameters.
"""

import dataclasses
import math

import distributions
from distributions import DEVIATIONS, IMAGES, OPS, P_VALUE, VIEWS
import numpy as np
import pytest
import recorded  # noqa: F401  registers the data set
import tensorflow as tf

from barlow_jax.config import recipe
from barlow_jax.config.schema import Data
from barlow_jax.data import decoding, host_ops, host_views
from barlow_jax.data.record_split import RecordSplit
from barlow_jax.data.sampler import EpochSampler, SampleRange


def _applied(uniforms, op):
    return distributions.each(host_views.is_applied, uniforms, op)


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("op_name", OPS)
def test_each_op_is_applied_with_its_probability(draws, name, op_name):
    op, uniforms = getattr(VIEWS[name], op_name), draws[name][op_name]
    applied = _applied(uniforms, op)
    assert distributions.probability_p_value(applied, op.probability) > P_VALUE
    for wrong in (op.probability - 0.05, op.probability + 0.05):
        if 0 <= wrong <= 1:
            other = _applied(uniforms, dataclasses.replace(op, probability=wrong))
            assert distributions.probability_p_value(other, op.probability) < 1e-6


@pytest.mark.parametrize("name", "ab")
def test_jitter_factors_and_hue_are_uniform(draws, name):
    u, op = draws[name]["jitter"][:, 1:], distributions.JITTER
    brightness, contrast, saturation, turns = distributions.each(host_ops.jitter_strengths, u, op)
    distributions.assert_uniform(brightness, 0.4, 1.6)
    distributions.assert_uniform(contrast, 0.7, 1.3)
    distributions.assert_uniform(saturation, 0.9, 1.1)
    distributions.assert_uniform(turns, -0.2, 0.2)


def test_a_strength_above_one_starts_at_zero(draws):
    """Factors U(max(0, 1 - s), 1 + s), as torchvision's."""
    op = recipe.Jitter(brightness=1.5)
    distributions.assert_uniform(
        distributions.each(host_ops.jitter_strengths, draws["a"]["jitter"][:, 1:], op)[0], 0.0, 2.5
    )


@pytest.mark.parametrize("name", "ab")
def test_blur_sigma_and_rotation_are_uniform(draws, name):
    sigma = distributions.each(host_ops.blur_sigma, draws[name]["blur"][:, 1:], VIEWS[name].blur)
    distributions.assert_uniform(sigma, 0.1, 2.0)
    degrees = distributions.each(host_ops.rotation, draws[name]["rotate"][:, 1:], VIEWS[name].rotate)
    distributions.assert_uniform(degrees, -10, 10)


@pytest.mark.parametrize("name", "ab")
def test_every_order_of_the_jitter_is_equally_likely(draws, name):
    orders = distributions.each(host_ops.jitter_order, draws[name]["jitter"][:, 1:], 4)
    assert distributions.permutation_p_value(orders) > P_VALUE


def test_the_order_of_the_jitter_is_independent_of_its_factors(draws):
    """Correlations of the rank of each part with the factor of each part."""
    u = draws["a"]["jitter"][:, 1:]
    ranks = np.argsort(distributions.each(host_ops.jitter_order, u, 4), axis=1)
    factors = np.stack(distributions.each(host_ops.jitter_strengths, u, VIEWS["a"].jitter), axis=1)
    assert np.abs(distributions.correlations(ranks, factors)).max() < DEVIATIONS / math.sqrt(IMAGES)


def test_jitter_and_blur_of_other_distributions_are_detected(draws):
    """Uniforms to the power of 1.1 fail the same checks."""
    jitter, blur = (draws["a"][name][:, 1:].copy() for name in ("jitter", "blur"))
    jitter[:, [0, 4]] **= 1.1
    blur **= 1.1
    factors, sigma = (
        distributions.each(host_ops.jitter_strengths, jitter, recipe.Jitter()),
        distributions.each(host_ops.blur_sigma, blur, recipe.Blur()),
    )
    assert distributions.uniform_p_value((factors[0] - 0.6) / 0.8) < 1e-6
    assert distributions.uniform_p_value((sigma - 0.1) / 1.9) < 1e-6
    assert distributions.permutation_p_value(distributions.each(host_ops.jitter_order, jitter, 4)) < 1e-6
    for wrong in (sigma, factors[0]):
        with pytest.raises(AssertionError):
            distributions.assert_uniform(wrong, wrong.min(), wrong.max())


def _columns(uniforms):
    """`[n, k]`: all uniforms that affect a view."""
    used = {
        "crop": [0, 1, 2, 3, 30, 31],
        "rotate": 2,
        "flip": 1,
        "jitter": 9,
        "grayscale": 1,
        "blur": 2,
        "solarize": 1,
    }
    parts = [
        uniforms[name][:, columns if isinstance(columns, list) else range(columns)]
        for name, columns in used.items()
    ]
    return np.concatenate(parts, axis=1).astype(float)


def test_ops_and_the_two_views_of_an_image_are_independent(draws):
    a, b = _columns(draws["a"]), _columns(draws["b"])
    distributions.assert_independent(np.concatenate([a, b], axis=1))
    assert np.abs(distributions.correlations(np.concatenate([a, a], axis=1))).max() > 0.99, (
        "equal seeds are detected"
    )


def test_the_application_of_an_op_is_independent_of_the_others(draws):
    applied = [
        _applied(draws[name][op], getattr(VIEWS[name], op))
        for name in VIEWS
        for op in OPS
        if 0 < getattr(VIEWS[name], op).probability < 1
    ]
    distributions.assert_pairs_independent(applied, 45)


@pytest.mark.parametrize("lag", [1, 2, 2048])
def test_one_image_and_the_next_are_independent(draws, lag):
    distributions.assert_lagged_independent(_columns(draws["a"]), lag)


def test_epochs_and_runs_augment_an_image_independently():
    distributions.assert_resampled(
        lambda run, positions: np.concatenate(
            [_columns(distributions.draw(view, positions, run)) for view in (0, 1)], axis=1
        )
    )


def test_the_pipeline_draws_with_these_seeds():
    """[seed * views + number of the view, global position], observed through the resulting views."""
    light = {
        name: dataclasses.replace(view, jitter=recipe.Jitter(0.0), blur=recipe.Blur(0.0))
        for name, view in VIEWS.items()
    }
    data = Data(name="recorded_digits", image_size=8, eval_resize=8)
    source, order = RecordSplit(data, "test"), EpochSampler(3, 360, 8)
    (batch,) = source.train_batches(data, light, SampleRange(order, 2, 3))
    _, positions = order.batch(2)
    images = [
        decoding.decode(source.parse(record)[0])
        for record in source.fetch(tf.constant(batch.index, tf.int64))
    ]
    for number, name in enumerate("ab"):
        for row, (image, position) in enumerate(zip(images, positions, strict=True)):
            expected = host_views.make_view(image, light[name], 8, tf.constant([3 * 2 + number, position]))
            np.testing.assert_array_equal(batch.views[name][row], expected)
