"""show-views through the entry point."""

import matplotlib.pyplot as plt
import numpy as np


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
    seen = results["network_input"]
    assert (seen["size"], seen["channels"]) == (8, 3)
    # Digits are gray: mean and std of the channels differ by those of ImageNet alone.
    imagenet_mean, imagenet_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    gray = np.array(seen["mean"]) * imagenet_std + imagenet_mean
    assert gray.min() > 0.1 and np.ptp(gray) < 1e-3
    assert np.ptp(np.array(seen["std"]) * imagenet_std) < 1e-3
    height, width, _ = plt.imread(tmp_path / "views.png").shape
    assert height > 300 and 1 < width / height < 1.6


def test_mistakes_are_named(run_command, config_file, tmp_path):
    argv = ("show-views", "--config", config_file)
    for more, words in (
        (("--out", tmp_path / "views.jpg"), "--out: needs a file that ends in .png"),
        ((), "--out: needs a file that ends in .png"),
        (("--channels", "0,1"), "--channels is 0,1, but must be one or three numbers in 0..2"),
        (("--channels", "3"), "--channels is 3"),
        (("--channels", "red"), "--channels is red"),
    ):
        assert words in run_command(*argv, *more, code=2)[1]
    assert not list(tmp_path.iterdir())
