"""show-views through the entry point."""

import matplotlib.pyplot as plt
import numpy as np

from barlow_jax.data import pipeline, sources
from barlow_jax.order import Order
from barlow_jax.programs import show_views


def test_the_sheet_is_an_image_with_a_column_for_each_view(program, config_file, tmp_path):
    results, _ = program(
        "show-views", "--config", config_file, "--out", tmp_path / "views.png", "--images", 4
    )
    assert results["columns"] == ["original", "view a", "view b"] and results["images"] == 4
    height, width, _ = plt.imread(tmp_path / "views.png").shape
    assert height > 300 and 0.5 < width / height < 1


def test_the_views_are_those_of_the_runs_first_step(small_config, typed):
    config = typed(small_config)
    source = sources.open_split(config.data, "train")
    columns = show_views.sheet(config, source, 5)
    order = Order(config.seed, source.num_examples, config.train.batch_size)
    batch = next(
        pipeline.train_batches(
            source, config.data, config.recipe.views, order, first_step=0, num_steps=1, share=pipeline.Share()
        )
    )
    for name, views in batch.views.items():
        np.testing.assert_array_equal(columns[f"view {name}"], views[:5])
    assert columns["original"].shape == (5, 8, 8, 3)


def test_mistakes_are_named(program, config_file, tmp_path):
    argv = ("show-views", "--config", config_file)
    for more, words in (
        (("--out", tmp_path / "views.jpg"), "--out: needs a file that ends in .png"),
        ((), "--out: needs a file that ends in .png"),
        (("--out", tmp_path / "v.png", "--images", 0), "--images: must be 1 or more, got 0"),
    ):
        assert words in program(*argv, *more, code=2)[1]
    assert not list(tmp_path.iterdir())
