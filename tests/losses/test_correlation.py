"""Tests of the cost model; the forms themselves are tested through the loss."""

import pytest

from barlow_jax.losses.correlation import choose_form


@pytest.mark.parametrize(
    ("rows", "width", "devices", "form"),
    [
        (256, 8192, 1, "gram"),
        (2048, 8192, 1, "gram"),
        (2048, 8192, 16, "gram"),
        (2048, 65536, 64, "gram"),
        (8192, 8192, 1, "direct"),
        (8192, 2048, 16, "direct"),
        (4096, 8192, 64, "gram"),
        (6000, 8192, 64, "direct"),  # computes less as gram, but sends more
    ],
)
def test_auto_selects_by_rows_width_and_devices(rows, width, devices, form):
    assert choose_form(rows, width, devices) == form
