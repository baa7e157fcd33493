"""Positions of finished crops on a canvas."""

import numpy as np
import pytest

from barlow_jax.data.padded_images import pack_crops


def test_two_crops_lie_side_by_side():
    assert pack_crops([224, 224], 512) == [(0, 0), (0, 224)]


@pytest.mark.parametrize("sizes", [[224, 224, *[96] * 6], [224, *[96] * 7]], ids=str)
def test_squares_do_not_overlap_and_stay_inside(sizes):
    side = 512
    covered = np.zeros((side, side), int)
    for size, (top, left) in zip(sizes, pack_crops(sizes, side), strict=True):
        covered[top : top + size, left : left + size] += 1
    assert covered.max() == 1 and covered.sum() == sum(size**2 for size in sizes)


def test_what_does_not_fit_has_no_place():
    assert pack_crops([32, 32], 63) is None and pack_crops([65], 64) is None
    assert pack_crops([32] * 4, 64) is not None and pack_crops([32] * 5, 64) is None
