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
def known_costs(costs, here, there, sums):
    """Sum costs that are known, and how far they are, over the cells of each candidate.

    costs (A, B, D, I, J, K); here (I, J, K) and there (I + A - 1, J + B - 1, K + D - 1), how far a cell of
    either image has content; sums (A B D, 2) float64, of costs times both and of both.
    """
    count_a, count_b, count_d, size_i, size_j, size_k = costs.shape
    for candidate in numba.prange(count_a * count_b * count_d):
        a, rest = candidate // (count_b * count_d), candidate % (count_b * count_d)
        b, d = rest // count_d, rest % count_d
        total, known = 0.0, 0.0
        for i in range(size_i):
            for j in range(size_j):
                cost, mine, other = costs[a, b, d, i, j], here[i, j], there[i + a, j + b, d : d + size_k]
                for k in range(size_k):
                    both = mine[k] * other[k]
                    total += cost[k] * both
                    known += both
        sums[candidate, 0], sums[candidate, 1] = total, known


@numba.njit(parallel=True, cache=True)
def fill_unknown(costs, here, there, neutral):
    """Move costs towards a neutral one as far as they are unknown; the arrays are those of `known_costs`."""
    count_a, count_b, count_d, size_i, size_j, size_k = costs.shape
    for candidate in numba.prange(count_a * count_b * count_d):
        a, rest = candidate // (count_b * count_d), candidate % (count_b * count_d)
        b, d = rest // count_d, rest % count_d
        for i in range(size_i):
            for j in range(size_j):
                cost, mine, other = costs[a, b, d, i, j], here[i, j], there[i + a, j + b, d : d + size_k]
                for k in range(size_k):
                    cost[k] = (cost[k] - neutral) * (mine[k] * other[k]) + neutral


@numba.njit(parallel=True, cache=True)
def cheapest(costs, near, weights, out):
    """out[:, x] = (a, b, d) of the first argmin of costs[a, b, d, x] + sum_axis weights (candidate - near)^2.

    Candidates are displacements: those of A along an axis run from -(A - 1) / 2 to (A - 1) / 2.

    costs (A, B, D, X); near (3, X) cells; weights (3,) float32; out (3, X) float32. Costs that are no numbers
    are never the least; where all are, the first candidate.
    """
    count_a, count_b, count_d, size = costs.shape
    for tile in numba.prange((size + _TILE - 1) // _TILE):
        start, stop = tile * _TILE, min(size, (tile + 1) * _TILE)
        least = np.full(stop - start, np.inf, np.float32)
        index = np.zeros(stop - start, np.int32)
        penalties_i = _penalties(count_a, near[0, start:stop], weights[0])
        penalties_j = _penalties(count_b, near[1, start:stop], weights[1])
        penalties_k = _penalties(count_d, near[2, start:stop], weights[2])
        for a in range(count_a):
            first = penalties_i[a]
            for b in range(count_b):
                second = penalties_j[b]
                for d in range(count_d):
                    third, cost = penalties_k[d], costs[a, b, d, start:stop]
                    number = np.int32((a * count_b + b) * count_d + d)
                    for x in range(stop - start):
                        value = cost[x] + (second[x] + third[x]) + first[x]
                        better = value < least[x]
                        least[x] = value if better else least[x]
                        index[x] = number if better else index[x]
        for x in range(stop - start):
            rest = index[x] // count_d
            out[0, start + x] = np.float32(rest // count_b - count_a // 2)
            out[1, start + x] = np.float32(rest % count_b - count_b // 2)
            out[2, start + x] = np.float32(index[x] % count_d - count_d // 2)


@numba.njit(cache=True)
def _penalties(count, near, weight):
    """Return weight (candidate - near)^2, (count, X)."""
    out = np.empty((count, len(near)), np.float32)
    for n in range(count):
        candidate, line = np.float32(n - count // 2), out[n]
        for x in range(len(near)):
            away = candidate - near[x]
            line[x] = weight * (away * away)
    return out
