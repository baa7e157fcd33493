"""show-views through the entry point."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np

from barlow_jax.augment.views import augment
from barlow_jax.commands import show_views
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange


def test_the_sheet_is_an_image_with_a_column_for_each_view(program, config_file, tmp_path):
    results, _ = program(
        "show-views", "--config", config_file, "--out", tmp_path / "views.png", "--images", 4
    )
    assert results["columns"] == [
        "original",
        "view a, device",
        "view a, host",
        "view b, device",
        "view b, host",
    ]
    assert results["images"] == 4
    height, width, _ = plt.imread(tmp_path / "views.png").shape
    assert height > 300 and 1 < width / height < 1.6


def test_the_views_are_those_of_the_runs_first_step(small_config, typed):
    config = typed(small_config)
    source = splits.open_split(config.data, "train")
    columns = show_views.sheet(config, source, 5)
    sampler = EpochSampler(config.seed, source.num_examples, config.train.batch_size)
    batch = next(source.train_batches(config.data, config.recipe.views, SampleRange(sampler, 0, 1)))
    for name, views in batch.views.items():
        np.testing.assert_array_equal(columns[f"view {name}, host"], views[:5])
    assert columns["original"].shape == (5, 8, 8, 3)
    data = dataclasses.replace(config.data, augment_on="device")
    decoded = next(source.train_batches(data, config.recipe.views, SampleRange(sampler, 0, 1)))
    made = augment(
        {name: rows[:5] for name, rows in decoded.views.items()},
        recipe=config.recipe,
        size=config.data.image_size,
        seed=config.seed,
    )
    for name, views in made.items():
        np.testing.assert_array_equal(columns[f"view {name}, device"], views)


def test_an_order_that_the_accelerator_cannot_honour_is_shown_from_the_host_alone(small_config, typed):
    for view in small_config.recipe.views.values():
        view.order = ("jitter", "crop", "rotate", "flip", "grayscale", "blur", "solarize", "normalize")
        view.jitter.probability = 0.8
    config = typed(small_config)
    columns = show_views.sheet(config, splits.open_split(config.data, "train"), 2)
    assert list(columns) == ["original", "view a, host", "view b, host"]


def test_mistakes_are_named(program, config_file, tmp_path):
    argv = ("show-views", "--config", config_file)
    for more, words in (
        (("--out", tmp_path / "views.jpg"), "--out: needs a file that ends in .png"),
        ((), "--out: needs a file that ends in .png"),
        (("--out", tmp_path / "v.png", "--images", 0), "--images: must be 1 or more, got 0"),
    ):
        assert words in program(*argv, *more, code=2)[1]
    assert not list(tmp_path.iterdir())
