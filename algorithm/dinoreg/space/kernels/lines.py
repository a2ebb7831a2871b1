"""Compiled CPU kernels of filters along one axis whose matrix is a narrow band.

Without the freedom to reorder sums, unlike those of `space.kernels.cpu`: compiled for another processor they
would round otherwise, and an optimisation of many steps would end a tenth of a voxel away.
"""

from __future__ import annotations

import numba
import numpy as np

# Values of a line that are summed at a time: they stay in the nearest cache while the taps go over them.
_TILE = 2048


@numba.njit(parallel=True, cache=True)
def filter_lines(volume, first, taps, out):
    """out[a, m, b] = sum_k taps[m, k] volume[a, first[m] + k, b]; volume (A, N, B), out (A, M, B)."""
    count, width = taps.shape
    size = volume.shape[2]
    for row in numba.prange(volume.shape[0] * count):
        a, m = row // count, row % count
        for start in range(0, size, _TILE):
            stop = min(start + _TILE, size)
            total = out[a, m, start:stop]
            total[:] = np.float32(0.0)
            for k in range(width):
                tap, source = taps[m, k], volume[a, first[m] + k, start:stop]
                for b in range(stop - start):
                    total[b] += tap * source[b]


@numba.njit(parallel=True, cache=True)
def filter_last_axis(volume, first, taps, out):
    """out[a, m] = sum_k taps[m, k] volume[a, first[m] + k]; volume (A, N), out (A, M)."""
    count, width = taps.shape
    for a in numba.prange(volume.shape[0]):
        for m in range(count):
            total = np.float32(0.0)
            for k in range(width):
                total += taps[m, k] * volume[a, first[m] + k]
            out[a, m] = total
