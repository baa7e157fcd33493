"""Warnings about images of 16 bits per channel, in folders of PNGs."""

import numpy as np
from PIL import Image
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.data import splits

RNG = np.random.default_rng(0)


def _grey(low, high):
    pixels = RNG.integers(low, high + 1, (20, 30), dtype=np.uint16)
    pixels[0, :2] = low, high
    return Image.fromarray(pixels)


def _eight_bits():
    return Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("opening", ["split", "images"])
@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([_grey(98, 2000), _eight_bits(), _grey(150, 3171)], (2, 98, 3171, 13)),  # 12 bits
        ([_grey(0, 16383)], (1, 0, 16383, 64)),
        ([_grey(0, 65535), _grey(0, 900)], None),  # a dark image among others
        ([_eight_bits()], None),
    ],
)
def test_the_measured_range_is_logged_at_the_start(tmp_path, capfd, opening, images, expected):
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    (folder / "9.png").write_bytes(b"\x89PNG is cut off")
    if opening == "split":
        parts = {"train_split": "train[:1]", "eval_split": "train"}
        splits.open_split(Data(name="images", data_dir=str(tmp_path), **parts), "train")
    else:
        splits.open_images(str(tmp_path), Data())
    warnings = [line for line in capfd.readouterr().err.splitlines() if "16 bits" in line]
    assert len(warnings) == (expected is not None)
    if expected:
        few, low, high, values = expected
        assert f"{few} of {len(images) + 1} images" in warnings[0] and "train/a/" in warnings[0]
        assert f"{low}..{high} of 0..65535" in warnings[0] and f" {values} of 256" in warnings[0]
