"""The summary of C against numpy.corrcoef, which stores the whole matrix."""

import numpy as np
import pytest

from barlow_jax.evals import correlation
from barlow_jax.evals.correlation import EDGES, correlate


def _views(rows, width, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 3
    return (z + rng.normal(size=z.shape)).astype(np.float32), (5 * z + rng.normal(size=z.shape)).astype(
        np.float32
    )


def _expected(z_a, z_b):
    width = z_a.shape[1]
    return np.corrcoef(np.float64(z_a), np.float64(z_b), rowvar=False)[:width, width:]


def test_a_narrow_matrix_is_shown_as_it_is():
    z_a, z_b = _views(40, 9)
    result, expected = correlate(z_a, z_b), _expected(z_a, z_b)
    assert result.features_per_cell == 1
    np.testing.assert_allclose(result.cells, expected, atol=1e-12)


@pytest.mark.parametrize(("width", "max_cells", "cells"), [(24, 8, 8), (23, 8, 8), (25, 8, 7), (9, 8, 5)])
@pytest.mark.parametrize("max_entries", [1, 150, 10**6])
def test_each_cell_of_a_wide_matrix_is_the_root_mean_square_of_its_block(
    width, max_cells, cells, max_entries, monkeypatch
):
    monkeypatch.setattr(correlation, "_MAX_ENTRIES", max_entries)
    z_a, z_b = _views(30, width)
    result, expected = correlate(z_a, z_b, max_cells=max_cells), _expected(z_a, z_b)
    k = -(-width // max_cells)
    assert result.features_per_cell == k and result.cells.shape == (cells, cells)
    for i, j in np.ndindex(result.cells.shape):
        block = expected[i * k : i * k + k, j * k : j * k + k]
        assert result.cells[i, j] == pytest.approx(np.sqrt(np.mean(block**2)), abs=1e-12)


@pytest.mark.parametrize("max_cells", [256, 8])
@pytest.mark.parametrize("max_entries", [1, 150, 10**6])
def test_histograms_count_every_value_once(max_cells, max_entries, monkeypatch):
    monkeypatch.setattr(correlation, "_MAX_ENTRIES", max_entries)
    z_a, z_b = _views(30, 20)
    result, expected = correlate(z_a, z_b, max_cells=max_cells), _expected(z_a, z_b)
    off = expected[~np.eye(20, dtype=bool)]
    np.testing.assert_array_equal(result.diagonal, np.histogram(np.diag(expected), EDGES)[0])
    np.testing.assert_array_equal(result.off_diagonal, np.histogram(off, EDGES)[0])
    assert result.diagonal.sum() == 20 and result.off_diagonal.sum() == 380
    assert result.off_diagonal.min() >= 0


def test_perfect_agreement_is_counted_at_the_end_of_the_scale():
    z, _ = _views(30, 6)
    result = correlate(z, -z)
    assert result.diagonal[0] == 6 and result.diagonal.sum() == 6


@pytest.mark.parametrize("feature", [np.zeros(30), np.full(30, 0.1), np.linspace(1e4, 1e4 + 1e-3, 30)])
def test_a_feature_that_is_constant_up_to_rounding_correlates_with_none(feature):
    z_a, z_b = _views(30, 5)
    others = correlate(z_a, z_b).cells
    z_a[:, 2] = feature
    result = correlate(z_a, z_b).cells
    assert not result[2].any()
    np.testing.assert_array_equal(np.delete(result, 2, 0), np.delete(others, 2, 0))
