"""Compiled CPU kernels of self-similarity (MIND-SSC), a row of voxels at a time.

torch makes a whole volume of every difference on the way. Like the filters, they sum in one order only, so
that every processor finds the same.
"""

from __future__ import annotations

import numba
import numpy as np
from torch import Tensor

from dinoreg.space.kernels.threads import follow_torch_threads

# Rows in turn along the second axis, of which each takes over what it shares with the one before.
_ROWS = 32


def mean_excess(padded: Tensor, offsets: Tensor, radius: int) -> Tensor:
    """Return the mean over the pairs of patch distances less their minimum, (1, I, J, K).

    Args:
        padded: (I + 2 d, J + 2 d, K + 2 d) float32, an image with d replicated voxels around it.
        offsets: (P, 2, 3) int64 in [0, 2 d], where in `padded` the two neighbours of voxel 0 lie, per pair.
        radius: of a patch, a box of 2 radius + 1 voxels whose border replicates.
    """
    return _similarity(padded, offsets, radius, 0.0, 0.0, channels=0)[0].unsqueeze(0)


def exponents(padded: Tensor, offsets: Tensor, radius: int, least: float, most: float) -> Tensor:
    """Return patch distances less their minimum over minus their mean, (P, I, J, K): what MIND takes exp of.

    Args:
        padded: as for `mean_excess`, with the next two.
        offsets: of the pairs.
        radius: of a patch.
        least: the mean is raised to it, > 0.
        most: the mean is lowered to it.
    """
    return _similarity(padded, offsets, radius, least, most, channels=len(offsets))[1]


def _similarity(
    padded: Tensor, offsets: Tensor, radius: int, least: float, most: float, *, channels: int
) -> tuple[Tensor, Tensor]:
    around = int(offsets.max())
    shape = tuple(n - around for n in padded.shape)
    mean, out = padded.new_empty(shape), padded.new_empty(channels, *shape)
    follow_torch_threads()
    similarity_rows(
        padded.numpy(),
        offsets.numpy(),
        radius,
        np.float32(least),
        np.float32(most),
        mean.numpy(),
        out.numpy(),
    )
    return mean, out


@numba.njit(parallel=True, cache=True)
def similarity_rows(padded, offsets, radius, least, most, mean, out):
    """Write the mean excess of every voxel to mean, (I, J, K), and the exponents to out, (P, I, J, K).

    Where out has no channels the exponents are left out.
    """
    size_i, size_j, size_k = mean.shape
    blocks = (size_j + _ROWS - 1) // _ROWS
    for block in numba.prange(size_i * blocks):
        i, begin = block // blocks, block % blocks * _ROWS
        squares = np.empty((len(offsets), 2 * radius + 1, size_k), np.float32)
        excess, scale = np.empty((len(offsets), size_k), np.float32), np.empty(size_k, np.float32)
        for j in range(begin, min(begin + _ROWS, size_j)):
            _add_rows(padded, offsets, radius, i, j, j == begin, mean.shape, squares)
            _sum_patches(squares, radius, j, size_j, excess)
            _less_minimum(excess)
            _mean(excess, mean[i, j])
            for k in range(size_k if len(out) else 0):
                scale[k] = -max(min(mean[i, j, k], most), least)
            for n in range(len(out)):
                here, line = excess[n], out[n, i, j]
                for k in range(size_k):
                    line[k] = here[k] / scale[k]


@numba.njit(cache=True)
def _add_rows(padded, offsets, radius, i, j, first, shape, squares):
    """Sum the squared differences of row j + radius along the first axis; at first of all rows of a patch.

    squares (P, 2 radius + 1, K) holds the sums of row y at y modulo its second size.
    """
    size_k = shape[2]
    for y in range(max(j - radius, 0) if first else j + radius, min(j + radius, shape[1] - 1) + 1):
        for n in range(len(offsets)):
            a, b = offsets[n, 0], offsets[n, 1]
            total = squares[n, y % (2 * radius + 1)]
            total[:] = np.float32(0.0)
            for step in range(-radius, radius + 1):
                x = min(max(i + step, 0), shape[0] - 1)
                one = padded[x + a[0], y + a[1], a[2] : a[2] + size_k]
                other = padded[x + b[0], y + b[1], b[2] : b[2] + size_k]
                for k in range(size_k):
                    difference = one[k] - other[k]
                    total[k] += difference * difference


@numba.njit(cache=True)
def _sum_patches(squares, radius, j, size_j, out):
    """The mean over the patches of row j, (P, K), from the sums along the first axis."""
    pairs, width, size_k = squares.shape
    count = np.float32(width**3)
    plane = np.empty(size_k + 2 * radius, np.float32)  # its border replicated
    inner = plane[radius : radius + size_k]
    for n in range(pairs):
        inner[:] = np.float32(0.0)
        for step in range(-radius, radius + 1):
            line = squares[n, min(max(j + step, 0), size_j - 1) % width]
            for k in range(size_k):
                inner[k] += line[k]
        plane[:radius] = inner[0]
        plane[radius + size_k :] = inner[size_k - 1]
        total = out[n]
        total[:] = plane[:size_k]
        for step in range(1, width):
            there = plane[step : step + size_k]
            for k in range(size_k):
                total[k] += there[k]
        for k in range(size_k):
            total[k] /= count


@numba.njit(cache=True)
def _less_minimum(distances):
    """Take from distances, (P, K), the least of the pairs."""
    least = distances[0].copy()
    for n in range(1, len(distances)):
        for k in range(len(least)):
            least[k] = min(least[k], distances[n, k])
    for n in range(len(distances)):
        for k in range(len(least)):
            distances[n, k] -= least[k]


@numba.njit(cache=True)
def _mean(excess, out):
    """The mean over the pairs, (P, K) -> (K,)."""
    pairs = np.float32(len(excess))
    out[:] = excess[0]
    for n in range(1, len(excess)):
        for k in range(len(out)):
            out[k] += excess[n, k]
    for k in range(len(out)):
        out[k] /= pairs
