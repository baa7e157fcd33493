"""The laws of the augmentation's draws: moments, Kolmogorov-Smirnov, chi-square and binomial tests.

The parameters come from the functions that `make_view` and the ops call, over seeds as the pipeline makes
them. Seeds are fixed, so a p-value is a number and not a chance; those of wrong laws are below 1e-6.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from barlow_jax import recipe
from barlow_jax.config import Data
from barlow_jax.data import host_ops, pipeline, sources, views
from barlow_jax.order import Order

VIEWS = {
    name: dataclasses.replace(view, rotate=recipe.Rotate(0.3)) for name, view in recipe.Recipe().views.items()
}
OPS = ("rotate", "flip", "jitter", "grayscale", "blur", "solarize")
IMAGES = 12000
P_VALUE = 1e-3
DEVIATIONS = 4.5  # of a mean, of a variance, and of each of some thousand correlations


@tf.function(autograph=False)
def _draw_all(seeds):
    return tf.map_fn(
        lambda seed: tf.stack(list(views.draw(VIEWS["a"], seed).values())),
        seeds,
        fn_output_signature=tf.float32,
        parallel_iterations=1,
    )


def _draw(number, positions, seed=0):
    """`{op: [n, 32]}` of view `number` at global positions, with the seeds of `train_batches`."""
    seeds = np.stack([np.full_like(positions, seed * len(VIEWS) + number), positions], axis=1)
    return dict(zip(VIEWS["a"].order, np.moveaxis(_draw_all(seeds).numpy(), 1, 0), strict=True))


@pytest.fixture(scope="module")
def draws():
    """Of views a and b, of the first images that a run is given."""
    return {name: _draw(number, np.arange(IMAGES)) for number, name in enumerate(sorted(VIEWS))}


def _each(function, uniforms, *arguments):
    """The op's own function of every row of uniforms, as NumPy arrays."""
    mapped = tf.vectorized_map(lambda u: function(u, *arguments), tf.constant(uniforms))
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), mapped)


def _boxes(uniforms, shape, op):
    """`[4, n]` float64: top, left, height, width."""
    return np.array(_each(lambda u: host_ops.crop_box(tf.constant([*shape, 3]), u, op), uniforms), float)


def _assert_uniform(samples, low, high):
    """Mean, variance and distribution function of U(low, high)."""
    samples = (np.asarray(samples, float) - low) / (high - low)
    assert samples.min() >= 0 and samples.max() <= 1
    deviation = 1 / math.sqrt(12 * len(samples))
    assert abs(samples.mean() - 1 / 2) < DEVIATIONS * deviation
    # The variance of a sample's variance is (kurtosis - 1) variance^2 / n, and the kurtosis here 9 / 5.
    assert abs(samples.var() - 1 / 12) < DEVIATIONS * math.sqrt(0.8 / len(samples)) / 12
    assert _uniform_p_value(samples) > P_VALUE


def _uniform_p_value(samples):
    return stats.kstest(samples, "uniform").pvalue


def _permutation_p_value(orders):
    """Chi-square of `[n, 4]` permutations being all as likely."""
    counts = [np.sum(np.all(orders == order, axis=1)) for order in itertools.permutations(range(4))]
    assert sum(counts) == len(orders)
    return stats.chisquare(counts).pvalue


def _applied(uniforms, op):
    return _each(views.is_applied, uniforms, op)


def _probability_p_value(applied, probability):
    return stats.binomtest(int(applied.sum()), len(applied), probability).pvalue


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("op_name", OPS)
def test_each_op_is_applied_with_its_probability(draws, name, op_name):
    op, uniforms = getattr(VIEWS[name], op_name), draws[name][op_name]
    applied = _applied(uniforms, op)
    assert _probability_p_value(applied, op.probability) > P_VALUE
    for wrong in (op.probability - 0.05, op.probability + 0.05):
        if 0 <= wrong <= 1:
            other = _applied(uniforms, dataclasses.replace(op, probability=wrong))
            assert _probability_p_value(other, op.probability) < 1e-6


@pytest.mark.parametrize("name", "ab")
def test_jitter_factors_and_hue_are_uniform(draws, name):
    u, op = draws[name]["jitter"][:, 1:], VIEWS[name].jitter
    brightness, contrast, saturation, turns = _each(host_ops.jitter_strengths, u, op)
    _assert_uniform(brightness, 0.6, 1.4)
    _assert_uniform(contrast, 0.6, 1.4)
    _assert_uniform(saturation, 0.8, 1.2)
    _assert_uniform(turns, -0.1, 0.1)


def test_a_strength_above_one_starts_at_zero(draws):
    """Factors U(max(0, 1 - s), 1 + s), as torchvision's."""
    op = recipe.Jitter(brightness=1.5)
    _assert_uniform(_each(host_ops.jitter_strengths, draws["a"]["jitter"][:, 1:], op)[0], 0.0, 2.5)


@pytest.mark.parametrize("name", "ab")
def test_blur_sigma_and_rotation_are_uniform(draws, name):
    sigma = _each(host_ops.blur_sigma, draws[name]["blur"][:, 1:], VIEWS[name].blur)
    _assert_uniform(sigma, 0.1, 2.0)
    degrees = _each(host_ops.rotation, draws[name]["rotate"][:, 1:], VIEWS[name].rotate)
    _assert_uniform(degrees, -10, 10)


@pytest.mark.parametrize("name", "ab")
def test_every_order_of_the_jitter_is_as_likely(draws, name):
    orders = _each(host_ops.jitter_order, draws[name]["jitter"][:, 1:], 4)
    assert _permutation_p_value(orders) > P_VALUE


def test_the_order_of_the_jitter_does_not_lean_on_its_factors(draws):
    """The place of each part against the factor of each part."""
    u = draws["a"]["jitter"][:, 1:]
    places = np.argsort(_each(host_ops.jitter_order, u, 4), axis=1)
    factors = np.stack(_each(host_ops.jitter_strengths, u, VIEWS["a"].jitter), axis=1)
    assert np.abs(_correlations(places, factors)).max() < DEVIATIONS / math.sqrt(IMAGES)


def test_jitter_and_blur_of_another_law_are_told_apart(draws):
    """Uniforms bent by a tenth in their exponent, through the same functions and the same checks."""
    jitter, blur = (draws["a"][name][:, 1:].copy() for name in ("jitter", "blur"))
    jitter[:, [0, 4]] **= 1.1
    blur **= 1.1
    factors, sigma = (
        _each(host_ops.jitter_strengths, jitter, recipe.Jitter()),
        _each(host_ops.blur_sigma, blur, recipe.Blur()),
    )
    assert _uniform_p_value((factors[0] - 0.6) / 0.8) < 1e-6
    assert _uniform_p_value((sigma - 0.1) / 1.9) < 1e-6
    assert _permutation_p_value(_each(host_ops.jitter_order, jitter, 4)) < 1e-6
    for wrong in (sigma, factors[0]):
        with pytest.raises(AssertionError):
            _assert_uniform(wrong, wrong.min(), wrong.max())


def _reference_boxes(rng, number, rows, columns, op):
    """torchvision's RandomResizedCrop from its definition, one throw after the other: `[4, n]`."""
    boxes = []
    for _ in range(number):
        for _ in range(10):
            area = rng.uniform(op.min_area, op.max_area) * rows * columns
            aspect = math.exp(rng.uniform(math.log(op.min_aspect), math.log(op.max_aspect)))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= columns and 0 < height <= rows:
                top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
                break
        else:
            height, width = rows, columns
            if columns / rows < op.min_aspect:
                height = round(columns / op.min_aspect)
            elif columns / rows > op.max_aspect:
                width = round(rows * op.max_aspect)
            top, left = (rows - height) // 2, (columns - width) // 2
        boxes.append((top, left, height, width))
    return np.array(boxes, float).T


def _box_statistics(boxes, rows, columns):
    top, left, height, width = boxes
    return {
        "area": height * width / (rows * columns),
        "aspect": width / height,
        "height": height,
        "width": width,
        "top": top,
        "left": left,
        "middle row": top + height / 2,
        "middle column": left + width / 2,
    }


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (600, 200), (100, 380), (64, 64)], ids=str)
def test_crops_follow_torchvisions_law_with_its_rejection(draws, shape):
    op = recipe.Crop()
    boxes = _boxes(draws["a"]["crop"], shape, op)
    assert np.all(boxes[:2] >= 0) and np.all(boxes[:2] + boxes[2:] <= np.reshape(shape, (2, 1)))
    ours = _box_statistics(boxes, *shape)
    reference = _box_statistics(_reference_boxes(np.random.default_rng(0), IMAGES, *shape, op), *shape)
    for name, samples in ours.items():
        # Widths in whole pixels share values: where they do, the p-value is too large, never too small.
        assert stats.ks_2samp(samples, reference[name]).pvalue > P_VALUE, name
    assert ours["area"].min() > 0.07 and ours["area"].max() <= 1


def test_crops_fall_back_as_often_as_ten_throws_in_a_row_miss(draws):
    """In a strip of 5 to 1, by the share of a fine grid of areas and aspects that fits."""
    rows, columns, op = 1000, 200, recipe.Crop()
    top, left, height, width = _boxes(draws["a"]["crop"], (rows, columns), op)
    middles = (np.arange(2000) + 0.5) / 2000
    areas, aspects = np.meshgrid(0.08 + 0.92 * middles, np.exp(math.log(16 / 9) * (middles - 0.5)))
    fits = np.mean(np.round(np.sqrt(areas * aspects * rows * columns)) <= columns)
    fallback = (height == round(columns / 0.75)) & (width == columns) & (top == (rows - 267) // 2)
    assert 0.1 < fits < 0.2 and np.all(left[fallback] == 0)
    assert _probability_p_value(fallback, (1 - fits) ** 10) > P_VALUE
    assert _probability_p_value(fallback, (1 - fits) ** 9) < 1e-6


SMALL = recipe.Crop(min_area=0.08, max_area=0.7)  # fits in a square at every aspect: nothing is rejected


@pytest.mark.parametrize("name", "ab")
def test_where_every_box_fits_area_and_log_aspect_are_uniform_and_independent(draws, name):
    top, left, height, width = _boxes(draws[name]["crop"], (8000, 8000), SMALL)
    area, log_aspect = height * width / 8000**2, np.log(width / height)
    end = math.log(4 / 3)
    # A side is a whole number of 2000 pixels or more.
    _assert_uniform(area, 0.08 * (1 - 5e-4), 0.7 * (1 + 5e-4))
    _assert_uniform(log_aspect, -end - 5e-4, end + 5e-4)
    # Uniform given the size; the random fraction makes a whole number from 0 to n a uniform one.
    rng = np.random.default_rng(0)
    down = (top + rng.random(IMAGES)) / (8000 - height + 1)
    right = (left + rng.random(IMAGES)) / (8000 - width + 1)
    _assert_uniform(down, 0, 1)
    _assert_uniform(right, 0, 1)
    columns = np.stack([area, log_aspect, down, right], axis=1)
    assert np.abs(_correlations(columns)).max() < DEVIATIONS / math.sqrt(IMAGES)


def test_a_crop_of_a_few_places_takes_each_as_often(draws):
    """Whole pixels: 5 rows and 7 columns of places, both ends included."""
    op = recipe.Crop(min_area=0.25, max_area=0.25, min_aspect=2 / 3, max_aspect=2 / 3)
    top, left, height, width = _boxes(draws["a"]["crop"], (12, 8), op)
    assert set(height) == {6} and set(width) == {4}
    counts = np.histogram2d(top, left, (np.arange(8) - 0.5, np.arange(6) - 0.5))[0]
    assert counts.sum() == IMAGES
    assert stats.chisquare(counts.ravel()).pvalue > P_VALUE


def _area_of_accepted(area):
    """Distribution function of the accepted area in a square, for area U(0.08, 1) and aspect 3/4 to 4/3.

    A box fits where |log aspect| <= -log area: always up to 3/4, with -log(area) / log(4/3) above it.
    """

    def integral(a):  # of -log a
        return a - a * np.log(a)

    def mass(a):
        above = np.maximum(a, 0.75)
        return np.minimum(a, 0.75) - 0.08 + (integral(above) - integral(0.75)) / math.log(4 / 3)

    return mass(np.clip(area, 0.08, 1)) / mass(1.0)


def test_rejection_thins_out_the_large_areas_as_the_closed_form_says(draws):
    _, _, height, width = _boxes(draws["b"]["crop"], (8000, 8000), recipe.Crop())
    area = height * width / 8000**2
    assert stats.kstest(area, _area_of_accepted).pvalue > P_VALUE
    assert _uniform_p_value((area - 0.08) / 0.92) < 1e-6


def test_crops_of_another_law_are_told_apart(draws):
    """An aspect that is uniform itself, and an area uniform in the side, through the same checks."""
    u, shape = draws["a"]["crop"], (375, 500)
    reference = _box_statistics(
        _reference_boxes(np.random.default_rng(0), IMAGES, *shape, recipe.Crop()), *shape
    )
    uniform_aspect, uniform_side = u.copy(), u.copy()
    low, high = math.log(3 / 4), math.log(4 / 3)
    uniform_aspect[:, 1:20:2] = (np.log(3 / 4 + u[:, 1:20:2] * (4 / 3 - 3 / 4)) - low) / (high - low)
    side = math.sqrt(0.08) + u[:, 0:20:2] * (1 - math.sqrt(0.08))
    uniform_side[:, 0:20:2] = (side**2 - 0.08) / 0.92
    for name, wrong in (("aspect", uniform_aspect), ("area", uniform_side)):
        found = _box_statistics(_boxes(wrong, shape, recipe.Crop()), *shape)
        assert stats.ks_2samp(found[name], reference[name]).pvalue < 1e-6
    with pytest.raises(AssertionError):
        test_where_every_box_fits_area_and_log_aspect_are_uniform_and_independent(
            {"a": {"crop": uniform_aspect}}, "a"
        )


def _correlations(columns, others=None):
    """Pearson's, `[k, l]`, of the columns of two `[n, ...]`; of one with itself, without the diagonal."""
    standard = [(x - x.mean(0)) / x.std(0) for x in (columns, columns if others is None else others)]
    found = standard[0].T @ standard[1] / len(columns)
    return found if others is not None else found - np.diag(np.diag(found))


def _columns(uniforms):
    """`[n, k]`: every number that decides anything about a view."""
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
        uniforms[name][:, places if isinstance(places, list) else range(places)]
        for name, places in used.items()
    ]
    return np.concatenate(parts, axis=1).astype(float)


def test_ops_and_the_two_views_of_an_image_are_independent(draws):
    a, b = _columns(draws["a"]), _columns(draws["b"])
    both = np.concatenate([a, b], axis=1)
    limit = DEVIATIONS / math.sqrt(IMAGES)
    assert np.abs(_correlations(both)).max() < limit
    # Dependence that cancels in the mean, such as u and 1 - u: distances from the middle.
    assert np.abs(_correlations(np.abs(both - 0.5))).max() < limit
    assert np.abs(_correlations(np.concatenate([a, a], axis=1))).max() > 0.99, "the same seed is seen"


def test_whether_one_op_is_applied_says_nothing_about_another(draws):
    """Chi-square of the 2 x 2 table of each pair of ops, within a view and between the two."""
    applied = {
        (name, op): _applied(draws[name][op], getattr(VIEWS[name], op))
        for name in VIEWS
        for op in OPS
        if 0 < getattr(VIEWS[name], op).probability < 1
    }
    pairs = list(itertools.combinations(applied.values(), 2))
    assert len(pairs) == 45
    for one, other in pairs:
        table = np.histogram2d(one, other, bins=2)[0]
        assert stats.chi2_contingency(table).pvalue > P_VALUE / 10


@pytest.mark.parametrize("lag", [1, 2, 2048])
def test_one_image_and_the_next_are_independent(draws, lag):
    columns = _columns(draws["a"])
    found = _correlations(columns[:-lag], columns[lag:])
    assert np.abs(found).max() < DEVIATIONS / math.sqrt(IMAGES - lag)


def test_epochs_and_runs_draw_an_image_afresh():
    """The same images in two epochs of a run, and in the first epoch of a run with the next seed."""
    order, number = Order(seed=0, num_examples=4000, batch_size=500), 4000
    found = []
    for run, epoch in ((0, 0), (0, 1), (1, 0)):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        index, position = (np.concatenate(parts) for parts in zip(*map(order.batch, steps), strict=True))
        drawn = [_columns(_draw(view, position, run)) for view in (0, 1)]
        found.append(np.concatenate(drawn, axis=1)[np.argsort(index)])
    for one, other in itertools.combinations(found, 2):
        assert np.abs(_correlations(one, other)).max() < DEVIATIONS / math.sqrt(number)


def test_the_pipeline_draws_with_these_seeds():
    """[seed * views + number of the view, global position], by the views that it makes."""
    light = {
        name: dataclasses.replace(view, jitter=recipe.Jitter(0.0), blur=recipe.Blur(0.0))
        for name, view in VIEWS.items()
    }
    data = Data(name="digits", image_size=8, eval_resize=8)
    source, order = sources.open_split(data, "test"), Order(3, 360, 8)
    (batch,) = pipeline.train_batches(
        source, data, light, order, first_step=2, num_steps=3, share=pipeline.Share()
    )
    _, positions = order.batch(2)
    images = [
        views.decode(source.parse(record)[0]) for record in source.fetch(tf.constant(batch.index, tf.int64))
    ]
    for number, name in enumerate("ab"):
        for row, (image, position) in enumerate(zip(images, positions, strict=True)):
            expected = views.make_view(image, light[name], 8, tf.constant([3 * 2 + number, position]))
            np.testing.assert_array_equal(batch.views[name][row], expected)
