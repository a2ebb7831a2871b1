"""Compiled CPU kernels of the joint histogram of two images under a linear map, and of its gradient.

Samples are dealt to a fixed number of parts with a histogram each, so that a sum has one order whatever the
number of threads.
"""

from __future__ import annotations

import numba
import numpy as np

# As in `space.kernels.cpu`.
_FASTMATH = {"reassoc", "arcp", "nsz"}


@numba.njit(inline="always")
def _spline(x):
    """The cubic B-spline at a distance, |x| < 2."""
    x = abs(x)
    if x < 1.0:
        return np.float32(2.0 / 3.0) - x * x + np.float32(0.5) * x * x * x
    rest = np.float32(2.0) - x
    return rest * rest * rest / np.float32(6.0)


@numba.njit(inline="always")
def _spline_slope(x):
    """The derivative of the cubic B-spline at a signed distance, |x| < 2."""
    size = abs(x)
    if size < 1.0:
        return x * (np.float32(1.5) * size - np.float32(2.0))
    rest = np.float32(2.0) - size
    return -np.float32(0.5) * rest * rest if x > 0 else np.float32(0.5) * rest * rest


@numba.njit(inline="always")
def _corner(position, size):
    """Lower corner, upper corner, weight of the upper one; the border replicates within half a voxel."""
    position = min(max(position, np.float32(0.0)), np.float32(size - 1))
    low = min(int(position), max(size - 2, 0))
    return low, min(low + 1, size - 1), np.float32(position - low)


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def joint_histogram(points, fixed, volume, matrix, histograms, values, slopes):
    """Read a volume at mapped points and fill joint histograms.

    points (N, 3); fixed (N,) and volume (I, J, K) in bins, the latter within [1, bins - 2); matrix (3, 4)
    from points to voxels; histograms (parts, bins, bins), first axis fixed, to be zero before; values (N,)
    receives the volume at each point, -1 outside it, and slopes (N, 3) its gradient per voxel.
    """
    size_i, size_j, size_k = volume.shape
    parts, count = histograms.shape[0], points.shape[0]
    one = np.float32(1.0)
    for part in numba.prange(parts):
        histogram = histograms[part]
        for n in range(part * count // parts, (part + 1) * count // parts):
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            at_i = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
            at_j = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
            at_k = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
            if not (
                -0.5 <= at_i <= size_i - 0.5 and -0.5 <= at_j <= size_j - 0.5 and -0.5 <= at_k <= size_k - 0.5
            ):
                values[n] = np.float32(-1.0)
                continue
            i0, i1, wi = _corner(at_i, size_i)
            j0, j1, wj = _corner(at_j, size_j)
            k0, k1, wk = _corner(at_k, size_k)
            ui, uj, uk = one - wi, one - wj, one - wk
            a00 = uk * volume[i0, j0, k0] + wk * volume[i0, j0, k1]
            a01 = uk * volume[i0, j1, k0] + wk * volume[i0, j1, k1]
            a10 = uk * volume[i1, j0, k0] + wk * volume[i1, j0, k1]
            a11 = uk * volume[i1, j1, k0] + wk * volume[i1, j1, k1]
            low, high = uj * a00 + wj * a01, uj * a10 + wj * a11
            value = ui * low + wi * high
            values[n] = value
            slopes[n, 0] = high - low
            slopes[n, 1] = ui * (a01 - a00) + wi * (a11 - a10)
            slopes[n, 2] = ui * (
                uj * (volume[i0, j0, k1] - volume[i0, j0, k0])
                + wj * (volume[i0, j1, k1] - volume[i0, j1, k0])
            ) + wi * (
                uj * (volume[i1, j0, k1] - volume[i1, j0, k0])
                + wj * (volume[i1, j1, k1] - volume[i1, j1, k0])
            )
            row, first = int(fixed[n]), int(value)
            share = fixed[n] - row
            for b in range(first - 1, first + 3):
                weight = _spline(value - b)
                histogram[row, b] += (one - share) * weight
                histogram[row + 1, b] += share * weight


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def score_gradient(points, fixed, values, slopes, table, gradients):
    """Sum over the samples of the gradient of a score of the joint histogram with respect to the matrix.

    As `joint_histogram` left them: points, fixed, values, slopes. table (bins, bins) is the derivative of the
    score by each bin; gradients (parts, 3, 4), to be zero before.
    """
    parts, count = gradients.shape[0], points.shape[0]
    for part in numba.prange(parts):
        gradient = gradients[part]
        for n in range(part * count // parts, (part + 1) * count // parts):
            value = values[n]
            if value < 0:
                continue
            row, first = int(fixed[n]), int(value)
            share = fixed[n] - row
            change = np.float32(0.0)
            for b in range(first - 1, first + 3):
                change += _spline_slope(value - b) * (
                    (np.float32(1.0) - share) * table[row, b] + share * table[row + 1, b]
                )
            for axis in range(3):
                along = change * slopes[n, axis]
                gradient[axis, 0] += along * points[n, 0]
                gradient[axis, 1] += along * points[n, 1]
                gradient[axis, 2] += along * points[n, 2]
                gradient[axis, 3] += along
