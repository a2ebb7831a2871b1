"""Compiled CPU kernels of filters along one axis whose matrix is a narrow band.

Without the freedom to reorder sums, unlike those of `space.kernels.cpu`: compiled for another processor they
would round otherwise, and an optimisation of many steps would end a tenth of a voxel away.
"""

from __future__ import annotations

import numba
import numpy as np

# Lines that are filtered together: whole rows of a cache, and few enough for it to keep them.
_COLUMNS = 256
# Rows of a matrix below which summing them side by side does not pay.
_FEWEST_TOGETHER = 16


@numba.njit(parallel=True, cache=True)
def filter_lines(volume, first, taps, out):
    """out[a, m, b] = sum_k taps[m, k] volume[a, first[m] + k, b]; (A, N, B) -> (A, M, B), or in place."""
    count, width = taps.shape
    size = volume.shape[2]
    tiles = (size + _COLUMNS - 1) // _COLUMNS
    for tile in numba.prange(volume.shape[0] * tiles):
        a, start = tile // tiles, tile % tiles * _COLUMNS
        stop = min(start + _COLUMNS, size)
        kept = volume[a, :, start:stop].copy()
        for m in range(count):
            total = out[a, m, start:stop]
            total[:] = np.float32(0.0)
            for k in range(width):
                tap, source = taps[m, k], kept[first[m] + k]
                for b in range(stop - start):
                    total[b] += tap * source[b]


@numba.njit(parallel=True, cache=True)
def filter_last_axis(volume, first, taps, out):
    """out[a, m] = sum_k taps[m, k] volume[a, first[m] + k]; volume (A, N), out (A, M), which may be one."""
    count, width = taps.shape
    low, high = _longest_shift(first)
    by_tap = taps[low:high].T.copy()
    for a in numba.prange(volume.shape[0]):
        line, total = volume[a].copy(), out[a, low:high]
        total[:] = np.float32(0.0)
        for k in range(width if high > low else 0):
            tap, source = by_tap[k], line[first[low] + k : first[low] + k + high - low]
            for b in range(high - low):
                total[b] += tap[b] * source[b]
        _fill_singly(line, first, taps, out[a], 0, low)
        _fill_singly(line, first, taps, out[a], high, count)


@numba.njit(cache=True, inline="always")
def _fill_singly(line, first, taps, out, begin, end):
    """Sum some rows one after the other."""
    for m in range(begin, end):
        total = np.float32(0.0)
        for k in range(taps.shape[1]):
            total += taps[m, k] * line[first[m] + k]
        out[m] = total


@numba.njit(cache=True)
def _longest_shift(first):
    """Return the most rows in turn that each begin one after the other, which are summed side by side.

    They are all but those at the border where a filter is the same everywhere; where they are few, none.
    """
    low, high, begin = 0, 0, 0
    for m in range(1, len(first) + 1):
        if m == len(first) or first[m] - first[m - 1] != 1:
            if m - begin > high - low:
                low, high = begin, m
            begin = m
    return (low, high) if high - low >= _FEWEST_TOGETHER else (0, 0)
