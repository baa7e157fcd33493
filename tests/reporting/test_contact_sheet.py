"""Contact sheets: image positions and text in the file, and the views in its columns."""

import dataclasses
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from barlow_jax.augment.views import augment
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.reporting import contact_sheet

COLORS = np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[200, 200, 0], [0, 200, 200], [200, 0, 200]]])


def _centers(path):
    """Return the (row, column) of the middle of each color, in pixels."""
    picture = np.round(plt.imread(path)[..., :3] * 255).astype(int)
    positions = [np.argwhere((picture == color).all(-1)) for color in COLORS.reshape(-1, 3)]
    assert all(len(pixels) > 1000 for pixels in positions)
    return np.array([pixels.mean(axis=0) for pixels in positions]).reshape(2, 3, 2)


@pytest.mark.parametrize("with_text", [False, True])
def test_each_image_is_in_its_row_and_column(tmp_path, with_text):
    images = np.broadcast_to(COLORS[:, :, None, None], (2, 3, 9, 9, 3)).astype(np.uint8)
    text = {"titles": ["one", "two", "three"], "captions": [["a", "b", "c"], ["d", "e", "f"]]}
    contact_sheet.draw(images, tmp_path / "new" / "sheet.png", **(text if with_text else {}))
    centers = _centers(tmp_path / "new" / "sheet.png")
    assert (np.diff(centers[..., 0], axis=0) > 50).all() and (np.diff(centers[..., 1], axis=1) > 50).all()
    assert np.ptp(centers[..., 0], axis=1).max() < 1 and np.ptp(centers[..., 1], axis=0).max() < 1


def test_any_channels_are_shown_in_three_colors():
    images = np.random.default_rng(0).random((2, 4, 4, 7)).astype(np.float32)
    pixels = np.rint(255 * images).astype(np.uint8)
    np.testing.assert_array_equal(contact_sheet.composite(images), pixels[..., :3])
    np.testing.assert_array_equal(contact_sheet.composite(images, [6, 0, 2]), pixels[..., [6, 0, 2]])
    for gray in (contact_sheet.composite(images, [5]), contact_sheet.composite(images[..., 5:])):
        np.testing.assert_array_equal(gray, np.repeat(pixels[..., 5:6], 3, axis=-1))
    assert contact_sheet.composite(pixels).dtype == np.uint8


def test_titles_and_captions_are_in_a_vector_file(tmp_path):
    images = np.zeros((1, 2, 4, 4, 3), np.uint8)
    contact_sheet.draw(
        images, tmp_path / "s.svg", titles=["ti", "tle"], captions=[["below", "0.931  label 3"]]
    )
    drawn = (tmp_path / "s.svg").read_text()
    for text in ("ti", "tle", "below", "0.931  label 3"):
        assert f"<!-- {text} -->" in drawn


def test_the_views_are_those_of_the_first_training_step(small_config, typed):
    config = typed(small_config)
    source = splits.open_split(config.data, "train")
    columns = contact_sheet.view_columns(config, source, 5)
    sampler = EpochSampler(config.seed, source.num_examples, config.train.batch_size)
    batch = next(source.train_batches(config.data, config.recipe.views, SampleRange(sampler, 0, 1)))
    for name, views in batch.views.items():
        np.testing.assert_array_equal(columns[f"view {name}, host"], views[:5])
    assert columns["original"].shape == (5, 8, 8, 3)
    data = dataclasses.replace(config.data, augment_on="device")
    decoded = next(source.train_batches(data, config.recipe.views, SampleRange(sampler, 0, 1)))
    make_views = partial(augment, recipe=config.recipe, size=config.data.image_size, seed=config.seed)
    expected = jax.jit(make_views)({name: rows[:5] for name, rows in decoded.views.items()})
    for name, views in expected.items():
        np.testing.assert_array_equal(columns[f"view {name}, device"], views)


def test_a_recipe_that_the_device_does_not_support_has_host_views_only(small_config, typed):
    for view in small_config.recipe.views.values():
        view.order = ("jitter", "crop", "rotate", "flip", "grayscale", "blur", "solarize", "normalize")
        view.jitter.probability = 0.8
    config = typed(small_config)
    columns = contact_sheet.view_columns(config, splits.open_split(config.data, "train"), 2)
    assert list(columns) == ["original", "view a, host", "view b, host"]
