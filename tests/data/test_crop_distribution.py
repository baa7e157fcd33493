"""Distribution of the random resized crop against torchvision's, with its rejection, and closed forms."""

import math

import distributions
from distributions import DEVIATIONS, IMAGES, P_VALUE
import numpy as np
import pytest
from scipy import stats

from barlow_jax.config import recipe

SMALL = recipe.Crop(min_area=0.08, max_area=0.7)  # fits in a square at every aspect: nothing is rejected


def _reference_boxes(rng, number, rows, columns, op):
    """Sample `[4, n]` boxes one by one by the definition of torchvision's RandomResizedCrop."""
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
def test_crops_follow_torchvisions_distribution_with_its_rejection(draws, shape):
    op = recipe.Crop()
    boxes = distributions.boxes(draws["a"]["crop"], shape, op)
    assert np.all(boxes[:2] >= 0) and np.all(boxes[:2] + boxes[2:] <= np.reshape(shape, (2, 1)))
    ours = _box_statistics(boxes, *shape)
    reference = _box_statistics(_reference_boxes(np.random.default_rng(0), IMAGES, *shape, op), *shape)
    for name, samples in ours.items():
        # Widths in whole pixels have ties, with which the p-value is too large, never too small.
        assert stats.ks_2samp(samples, reference[name]).pvalue > P_VALUE, name
    assert ours["area"].min() > 0.07 and ours["area"].max() <= 1


def test_crops_fall_back_with_the_probability_of_ten_misses(draws):
    """The expected rate in a 5:1 strip is computed on a fine grid of areas and aspects."""
    rows, columns, op = 1000, 200, recipe.Crop()
    top, left, height, width = distributions.boxes(draws["a"]["crop"], (rows, columns), op)
    middles = (np.arange(2000) + 0.5) / 2000
    areas, aspects = np.meshgrid(0.08 + 0.92 * middles, np.exp(math.log(16 / 9) * (middles - 0.5)))
    fits = np.mean(np.round(np.sqrt(areas * aspects * rows * columns)) <= columns)
    fallback = (height == round(columns / 0.75)) & (width == columns) & (top == (rows - 267) // 2)
    assert 0.1 < fits < 0.2 and np.all(left[fallback] == 0)
    assert distributions.probability_p_value(fallback, (1 - fits) ** 10) > P_VALUE
    assert distributions.probability_p_value(fallback, (1 - fits) ** 9) < 1e-6


@pytest.mark.parametrize("name", "ab")
def test_where_every_box_fits_area_and_log_aspect_are_uniform_and_independent(draws, name):
    top, left, height, width = distributions.boxes(draws[name]["crop"], (8000, 8000), SMALL)
    area, log_aspect = height * width / 8000**2, np.log(width / height)
    end = math.log(4 / 3)
    # A side is a whole number of 2000 pixels or more.
    distributions.assert_uniform(area, 0.08 * (1 - 5e-4), 0.7 * (1 + 5e-4))
    distributions.assert_uniform(log_aspect, -end - 5e-4, end + 5e-4)
    # Uniform given the size; the random fraction makes a whole number from 0 to n a uniform one.
    rng = np.random.default_rng(0)
    down = (top + rng.random(IMAGES)) / (8000 - height + 1)
    right = (left + rng.random(IMAGES)) / (8000 - width + 1)
    distributions.assert_uniform(down, 0, 1)
    distributions.assert_uniform(right, 0, 1)
    columns = np.stack([area, log_aspect, down, right], axis=1)
    assert np.abs(distributions.correlations(columns)).max() < DEVIATIONS / math.sqrt(IMAGES)


def test_a_crop_with_few_positions_takes_each_equally_often(draws):
    """There are 7 rows and 5 columns of corners in whole pixels, both ends included."""
    op = recipe.Crop(min_area=0.25, max_area=0.25, min_aspect=2 / 3, max_aspect=2 / 3)
    top, left, height, width = distributions.boxes(draws["a"]["crop"], (12, 8), op)
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
    _, _, height, width = distributions.boxes(draws["b"]["crop"], (8000, 8000), recipe.Crop())
    area = height * width / 8000**2
    assert stats.kstest(area, _area_of_accepted).pvalue > P_VALUE
    assert distributions.uniform_p_value((area - 0.08) / 0.92) < 1e-6


def test_crops_of_other_distributions_are_detected(draws):
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
        wrong_statistics = _box_statistics(distributions.boxes(wrong, shape, recipe.Crop()), *shape)
        assert stats.ks_2samp(wrong_statistics[name], reference[name]).pvalue < 1e-6
    with pytest.raises(AssertionError):
        test_where_every_box_fits_area_and_log_aspect_are_uniform_and_independent(
            {"a": {"crop": uniform_aspect}}, "a"
        )
