"""Compiled CPU kernels of the search among candidate displacements.

Like the filters, they sum in one order only, so that every processor finds the same.
"""

from __future__ import annotations

import numba
import numpy as np

# Cells whose cheapest candidate is looked for together: what is kept of them stays in the nearest cache.
_TILE = 1024


@numba.njit(parallel=True, cache=True)
def squared_distances(fixed, padded, out):
    """out[k, x] = sum_c (fixed[c, x] - padded[c, x + k])^2.

    fixed (C, I, J, K); padded (C, I + a - 1, J + b - 1, K + d - 1) for a, b and d candidates along the axes;
    out (a, b, d, I, J, K).
    """
    channels, size_i, size_j, size_k = fixed.shape
    for candidate in numba.prange(out.shape[0] * out.shape[1] * out.shape[2]):
        a, rest = candidate // (out.shape[1] * out.shape[2]), candidate % (out.shape[1] * out.shape[2])
        b, d = rest // out.shape[2], rest % out.shape[2]
        for i in range(size_i):
            for j in range(size_j):
                total = out[a, b, d, i, j]
                total[:] = np.float32(0.0)
                for c in range(channels):
                    here, there = fixed[c, i, j], padded[c, i + a, j + b, d : d + size_k]
                    for k in range(size_k):
                        difference = here[k] - there[k]
                        total[k] += difference * difference


@numba.njit(parallel=True, cache=True)
def cheapest(costs, penalties_i, penalties_j, penalties_k, out):
    """out[x] = first argmin over (a, b, d) of costs[a, b, d, x] + the penalties of a, b and d at x.

    costs (A, B, D, X); penalties (A, X), (B, X) and (D, X); out (X,) int64, counted with d fastest. Costs
    that are no numbers are never the least; where all are, 0.
    """
    count_a, count_b, count_d, size = costs.shape
    for tile in numba.prange((size + _TILE - 1) // _TILE):
        start, stop = tile * _TILE, min(size, (tile + 1) * _TILE)
        least = np.full(stop - start, np.inf, np.float32)
        index = np.zeros(stop - start, np.int32)
        for a in range(count_a):
            first = penalties_i[a, start:stop]
            for b in range(count_b):
                second = penalties_j[b, start:stop]
                for d in range(count_d):
                    third, cost = penalties_k[d, start:stop], costs[a, b, d, start:stop]
                    number = np.int32((a * count_b + b) * count_d + d)
                    for x in range(stop - start):
                        value = cost[x] + (second[x] + third[x]) + first[x]
                        better = value < least[x]
                        least[x] = value if better else least[x]
                        index[x] = number if better else index[x]
        for x in range(stop - start):
            out[start + x] = index[x]
