"""Text of `config.data.value_range`."""

import numpy as np
import pytest

from barlow_jax.config.value_range import format_limits, parse_limits


@pytest.mark.parametrize("text", ["dtype", "auto"])
def test_words_have_no_limits(text):
    assert parse_limits(text, 3) is None


def test_two_numbers_hold_for_all_channels_and_pairs_for_each():
    np.testing.assert_array_equal(parse_limits("[-5, 2.5]", 2), [[-5, 2.5]] * 2)
    np.testing.assert_array_equal(parse_limits("(0,1,2,3)", 2), [[0, 1], [2, 3]])


def test_limits_survive_as_text():
    limits = np.random.default_rng(0).normal(size=(13, 2)).astype(np.float32)
    limits.sort(axis=1)
    np.testing.assert_array_equal(parse_limits(format_limits(limits), 13), limits)
