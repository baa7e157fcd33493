"""Colours by row and column, found again in the file."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from barlow_jax.report import contact_sheet

COLORS = np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[200, 200, 0], [0, 200, 200], [200, 0, 200]]])


def _centres(path):
    """(row, column) of the middle of each colour, in pixels."""
    picture = np.round(plt.imread(path)[..., :3] * 255).astype(int)
    found = [np.argwhere((picture == color).all(-1)) for color in COLORS.reshape(-1, 3)]
    assert all(len(places) > 1000 for places in found)
    return np.array([places.mean(axis=0) for places in found]).reshape(2, 3, 2)


@pytest.mark.parametrize("with_words", [False, True])
def test_each_image_is_in_its_row_and_column(tmp_path, with_words):
    images = np.broadcast_to(COLORS[:, :, None, None], (2, 3, 9, 9, 3)).astype(np.uint8)
    words = {"titles": ["one", "two", "three"], "captions": [["a", "b", "c"], ["d", "e", "f"]]}
    contact_sheet.draw(images, tmp_path / "new" / "sheet.png", **(words if with_words else {}))
    centres = _centres(tmp_path / "new" / "sheet.png")
    assert (np.diff(centres[..., 0], axis=0) > 50).all() and (np.diff(centres[..., 1], axis=1) > 50).all()
    assert np.ptp(centres[..., 0], axis=1).max() < 1 and np.ptp(centres[..., 1], axis=0).max() < 1


def test_words_are_in_a_file_that_holds_text(tmp_path):
    images = np.zeros((1, 2, 4, 4, 3), np.uint8)
    contact_sheet.draw(
        images, tmp_path / "s.svg", titles=["ti", "tle"], captions=[["below", "0.931  label 3"]]
    )
    drawn = (tmp_path / "s.svg").read_text()
    for words in ("ti", "tle", "below", "0.931  label 3"):
        assert f"<!-- {words} -->" in drawn
