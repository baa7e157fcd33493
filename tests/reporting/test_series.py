"""Series of metrics and number formatting."""

import math

import numpy as np
import reported

from barlow_jax.reporting import formatting, series


def test_rows_of_evaluations_have_the_epoch_of_their_step():
    run = reported.run()
    assert series.read(run, "knn_top1").epochs == [80.0]
    np.testing.assert_allclose(series.read(run, "loss").epochs, 4.0 * np.arange(1, 21))


def test_downsampled_series_keep_extremes_gaps_and_order():
    values = np.random.default_rng(0).normal(size=10_007)
    values[5000] = math.nan
    steps = np.arange(10_007.0)
    thin = series.Series(steps, steps / 10, values).downsampled()
    assert len(thin.values) <= 601 and np.all(np.diff(thin.steps) > 0)
    assert np.nanmin(thin.values) == np.nanmin(values) and np.nanmax(thin.values) == np.nanmax(values)
    assert thin.steps[np.isnan(thin.values)] == [5000]
    np.testing.assert_array_equal(thin.values, values[thin.steps.astype(int)])


def test_few_rows_are_left_as_they_are():
    loss = series.read(reported.run(), "loss")
    assert loss.downsampled() is loss


def test_the_trend_uses_medians_so_that_one_batch_does_not_decide():
    assert series.trend([9, 9, 0, 5, 5, 5, 1, 50, 1]) == (9, 1)
    assert series.trend([3, 2]) == (3, 2) and series.trend([3]) is None


def test_numbers_and_durations():
    numbers = [0.0, 131.6468, 0.0383, 1234567.0, 0.00001, 99999.4, None, math.nan, -0.5]
    texts = [formatting.number(number) for number in numbers]
    assert texts == ["0", "132", "0.0383", "1.23e+06", "1.00e-05", "100,000", "-", "not finite", "-0.500"]
    durations = [formatting.duration(seconds) for seconds in (0.4, 45, 137.8, 3599.9, 11_100, 372_000)]
    assert durations == ["0.4 s", "45 s", "2 min 18 s", "1 h 00 min", "3 h 05 min", "4 d 7 h"]
