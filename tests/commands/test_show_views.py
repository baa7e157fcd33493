"""show-views through the entry point."""

import matplotlib.pyplot as plt


def test_the_sheet_is_an_image_with_a_column_for_each_view(run_command, config_file, tmp_path):
    results, _ = run_command(
        "show-views", "--config", config_file, "--out", tmp_path / "views.png", "--rows", 4
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


def test_mistakes_are_named(run_command, config_file, tmp_path):
    argv = ("show-views", "--config", config_file)
    for more, words in (
        (("--out", tmp_path / "views.jpg"), "--out: needs a file that ends in .png"),
        ((), "--out: needs a file that ends in .png"),
    ):
        assert words in run_command(*argv, *more, code=2)[1]
    assert not list(tmp_path.iterdir())
