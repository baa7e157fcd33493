"""The cross-correlation matrix of two views' embeddings, whatever its size, as a picture and two histograms.

Equation 2 of Barlow Twins (Zbontar et al. 2021), over the N images that are given:

    C_ij = sum_b A_bi B_bj / (sqrt(sum_b A_bi^2) sqrt(sum_b B_bj^2)),      A = z_a - mean, B = z_b - mean

C is built some rows at a time, and never held: D = 65 536 needs 134 MB in the place of 34 GB.
"""

from typing import NamedTuple

import numpy as np

from barlow_jax.report.schema import Histogram

_BINS = 200
EDGES = np.linspace(-1.0, 1.0, _BINS + 1)
# A deviation that is smaller than the float32 numbers around the feature's values lie apart is rounding.
_RESOLUTION = 1e-7
_ENTRIES = 2**22  # of C that are held, at least a row of cells


class Correlation(NamedTuple):
    """What is kept of C, `[D, D]`."""

    cells: np.ndarray  # [d, d] C itself, or the root mean square of each block of features
    features_per_cell: int  # a side, D / d rounded up; the last block may be smaller
    diagonal: Histogram  # of D values
    off_diagonal: Histogram  # of D (D - 1) values


def correlate(z_a: np.ndarray, z_b: np.ndarray, *, most_cells: int = 256) -> Correlation:
    """C of `[N, D]` embeddings of two views, row by row of the same images; a constant feature correlates with none.

    Args:
      z_a: of one view, N >= 2.
      z_b: of the other.
      most_cells: a side of the picture; where D is larger, neighbouring features share a cell.
    """
    width = z_a.shape[1]
    per_cell = -(-width // most_cells)
    starts = np.arange(0, width, per_cell)
    a, b = _unit_columns(z_a), _unit_columns(z_b)
    cells = np.empty((len(starts), len(starts)))
    diagonal, counts = np.empty(width), np.zeros(len(EDGES) - 1)
    sizes = np.diff(np.append(starts, width))
    at_a_time = max(1, _ENTRIES // (per_cell * width))  # rows of cells
    for row in range(0, len(starts), at_a_time):
        first, rows = starts[row], slice(row, row + at_a_time)
        block = np.clip(a[:, first : first + at_a_time * per_cell].T @ b, -1.0, 1.0)
        own = np.arange(len(block)), first + np.arange(len(block))
        diagonal[own[1]] = block[own]
        counts += _count(block) - _count(block[own])
        if per_cell == 1:
            cells[rows] = block
            continue
        np.square(block, out=block)
        sums = np.add.reduceat(np.add.reduceat(block, starts, axis=1), starts[rows] - first, axis=0)
        cells[rows] = np.sqrt(sums / np.outer(sizes[rows], sizes))
    return Correlation(cells, per_cell, Histogram(EDGES, _count(diagonal)), Histogram(EDGES, counts))


def _unit_columns(z: np.ndarray) -> np.ndarray:
    """Centred, each of length 1, or 0 where it is constant."""
    z = z.astype(np.float64)
    centred = z - z.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    constant = lengths <= _RESOLUTION * len(z) ** 0.5 * np.abs(z).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, lengths))


def _count(values: np.ndarray) -> np.ndarray:
    """Float64, of each bin of EDGES."""
    return np.histogram(values, _BINS, (-1.0, 1.0))[0].astype(np.float64)
