"""The cross-correlation matrix of two views' embeddings, whatever its size, as a picture and two histograms.

Equation 2 of Barlow Twins (Zbontar et al. 2021), over the N images that are given:

    C_ij = sum_b A_bi B_bj / (sqrt(sum_b A_bi^2) sqrt(sum_b B_bj^2)),      A = z_a - mean, B = z_b - mean

C is built a few rows at a time, and never held: D = 65 536 needs 67 MB in the place of 17 GB.
"""

from typing import NamedTuple

import numpy as np

from barlow_jax.report.facts import Histogram

_BINS = 200
EDGES = np.linspace(-1.0, 1.0, _BINS + 1)
# A deviation that is smaller than the float32 numbers around the feature's values lie apart is rounding.
_RESOLUTION = 1e-7


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
    for row, start in enumerate(starts):
        block = np.clip(a[:, start : start + per_cell].T @ b, -1.0, 1.0)
        own = np.arange(len(block)), start + np.arange(len(block))
        diagonal[start : start + per_cell] = block[own]
        counts += _count(block) - _count(block[own])
        sums = np.add.reduceat(np.square(block).sum(axis=0), starts)
        sizes = len(block) * np.diff(np.append(starts, width))
        cells[row] = block[0] if per_cell == 1 else np.sqrt(sums / sizes)
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
