"""Views in Pillow sample the same distributions as those in TensorFlow."""

import dataclasses

import distributions
import numpy as np
from PIL import Image
import pytest
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_image

from barlow_jax.config import recipe
from barlow_jax.config.recipe import View
from barlow_jax.data import pillow_views

PHOTOGRAPH = load_sample_image("china.jpg")[:200, :300]


def test_a_view_is_normalized_and_repeats_with_its_generator():
    views = recipe.Recipe().views
    one, two = (pillow_views.make_views(PHOTOGRAPH, views, 32, np.random.default_rng(0)) for _ in range(2))
    assert set(one) == {"a", "b"} and one["a"].shape == (3, 32, 32) and one["a"].dtype == np.float32
    np.testing.assert_array_equal(one["a"], two["a"])
    assert np.any(one["a"] != one["b"]) and -2.2 < one["a"].min() < one["a"].max() < 2.7


@pytest.mark.parametrize("name", ["flip", "grayscale", "solarize"])
def test_an_op_is_applied_with_its_probability(name):
    """The image that the op makes, or the image as it was; nothing else, and as often as it should be."""
    off = {op: dataclasses.replace(getattr(View(), op), probability=0.0) for op in distributions.OPS}
    crop = recipe.Crop(min_area=1.0, min_aspect=1.5, max_aspect=1.5)
    ops = {
        p: View(crop=crop, **(off | {name: dataclasses.replace(off[name], probability=p)}))
        for p in (0, 0.3, 1)
    }
    image, rng = Image.fromarray(PHOTOGRAPH), np.random.default_rng(0)
    without, always = (np.asarray(pillow_views.make_view(image, ops[p], 8, rng)) for p in (0, 1))
    made_views = [np.asarray(pillow_views.make_view(image, ops[0.3], 8, rng)) for _ in range(2000)]
    applied = np.array([np.array_equal(view, always) for view in made_views])
    assert all(np.array_equal(view, without) for view in np.array(made_views)[~applied])
    assert distributions.probability_p_value(applied, 0.3) > distributions.P_VALUE


def test_every_op_of_the_host_is_implemented():
    assert {*pillow_views._OPS, "crop", "normalize"} == {*recipe.OPS} - {*recipe.DEVICE_ONLY}
    view = View(
        vertical_flip=recipe.VerticalFlip(1.0),
        quarter_turn=recipe.QuarterTurn(1.0),
        order=("vertical_flip", "quarter_turn", "normalize"),
    )
    image, rng = Image.fromarray(PHOTOGRAPH), np.random.default_rng(0)
    expected = [np.rot90(np.flipud(PHOTOGRAPH), turns).tobytes() for turns in range(4)]
    made = [np.asarray(pillow_views.make_view(image, view, 8, rng)).tobytes() for _ in range(40)]
    assert {*made} == {*expected} and made.count(made[0]) < 25


def test_crop_boxes_have_the_hosts_distribution():
    """A ramp in each direction tells where a crop was: its mean is the middle of the box."""
    rows, columns = np.mgrid[:200, :300]
    ramp = Image.fromarray(np.stack([rows, columns * 200 // 300, rows * 0], -1).astype(np.uint8))
    rng = np.random.default_rng(0)
    middles = np.array(
        [np.asarray(pillow_views._crop(ramp, recipe.Crop(), 8, rng)).mean((0, 1))[:2] for _ in range(3000)]
    )
    uniforms = np.random.default_rng(1).random((3000, 32)).astype(np.float32)
    top, left, height, width = distributions.boxes(uniforms, (200, 300), recipe.Crop())
    host = np.stack([top + height / 2, (left + width / 2) * 2 / 3], axis=1)
    assert all(ks_2samp(middles[:, axis], host[:, axis] - 0.5).pvalue > 1e-3 for axis in (0, 1))
