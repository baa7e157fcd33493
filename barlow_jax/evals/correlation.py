"""Cross-correlation matrix of two views' embeddings at any width, summarized as a picture and two histograms.

Equation 2 of Barlow Twins (Zbontar et al. 2021), over N images:

    C_ij = sum_b A_bi B_bj / (sqrt(sum_b A_bi^2) sqrt(sum_b B_bj^2)),      A = z_a - mean, B = z_b - mean

C is computed a few rows at a time and never stored: D = 65 536 needs 134 MB instead of 34 GB.
"""

from typing import NamedTuple

import numpy as np

_BINS = 200
EDGES = np.linspace(-1.0, 1.0, _BINS + 1)
# A standard deviation below the spacing of float32 numbers around the feature's values is rounding.
_RESOLUTION = 1e-7
_MAX_ENTRIES = 2**22  # of C in memory at once, but at least one row of cells


class Correlation(NamedTuple):
    """Summary of C, `[D, D]`."""

    cells: np.ndarray  # [d, d] C itself, or the root mean square of each block of features
    features_per_cell: int  # block size, D / d rounded up; the last block may be smaller
    diagonal: np.ndarray  # [200] counts of the D diagonal values between EDGES
    off_diagonal: np.ndarray  # [200] counts of the other D (D - 1) values


def correlate(z_a: np.ndarray, z_b: np.ndarray, *, max_cells: int = 256) -> Correlation:
    """Return the summary of C; a constant feature has correlation 0 with every feature.

    Args:
      z_a: `[N, D]` embeddings of one view, N >= 2.
      z_b: `[N, D]` embeddings of the other view, row by row of the same images.
      max_cells: width of the picture; if D is larger, neighboring features share a cell.
    """
    width = z_a.shape[1]
    per_cell = -(-width // max_cells)
    starts = np.arange(0, width, per_cell)
    a, b = _unit_columns(z_a), _unit_columns(z_b)
    cells = np.empty((len(starts), len(starts)))
    diagonal, counts = np.empty(width), np.zeros(len(EDGES) - 1)
    sizes = np.diff(np.append(starts, width))
    chunk = max(1, _MAX_ENTRIES // (per_cell * width))  # rows of cells
    for row in range(0, len(starts), chunk):
        first, rows = starts[row], slice(row, row + chunk)
        block = np.clip(a[:, first : first + chunk * per_cell].T @ b, -1.0, 1.0)
        on_diagonal = np.arange(len(block)), first + np.arange(len(block))
        diagonal[on_diagonal[1]] = block[on_diagonal]
        counts += _count(block) - _count(block[on_diagonal])
        if per_cell == 1:
            cells[rows] = block
            continue
        np.square(block, out=block)
        sums = np.add.reduceat(np.add.reduceat(block, starts, axis=1), starts[rows] - first, axis=0)
        cells[rows] = np.sqrt(sums / np.outer(sizes[rows], sizes))
    return Correlation(cells, per_cell, _count(diagonal), counts)


def _unit_columns(z: np.ndarray) -> np.ndarray:
    """Return centered columns of length 1; a constant column becomes 0."""
    z = z.astype(np.float64)
    centered = z - z.mean(axis=0)
    lengths = np.linalg.norm(centered, axis=0)
    constant = lengths <= _RESOLUTION * len(z) ** 0.5 * np.abs(z).max(axis=0)
    return np.where(constant, 0.0, centered / np.where(constant, 1.0, lengths))


def _count(values: np.ndarray) -> np.ndarray:
    """Return the float64 counts in the bins of EDGES."""
    return np.histogram(values, _BINS, (-1.0, 1.0))[0].astype(np.float64)
