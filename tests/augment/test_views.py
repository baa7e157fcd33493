import numpy as np

from barlow_jax.augment.views import augment, normalize
from barlow_jax.recipe import IMAGENET_MEAN, IMAGENET_STD, Normalize, Recipe


def test_normalize_is_torchvisions():
    levels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = (levels / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(normalize(levels, Normalize()), expected, rtol=1e-5, atol=1e-6)


def test_each_view_is_finished_by_its_own_row_of_the_recipe():
    levels = np.full((1, 2, 2, 3), 255, np.uint8)
    views = augment({"a": levels, "b": levels}, Recipe())
    assert set(views) == {"a", "b"} and views["a"].dtype == np.float32
