"""Compiled CPU kernels of the linear sampler and of the SSD under it, channels last.

torch's 3D `grid_sample` is a scalar loop over channels-first memory on the CPU: every corner of every
channel is a cache miss. With the channels of a voxel side by side the eight corners are eight contiguous
reads.
"""

from __future__ import annotations

import numba
import numpy as np

# Sums may be reordered. Not "nnan" and "ninf": they would delete the test that catches NaN. Not "contract":
# together with "reassoc" a kernel loaded from the cache then rounds otherwise than one just compiled.
_FASTMATH = {"reassoc", "arcp", "nsz"}


@numba.njit(inline="always")
def _cell(position, size):
    """Lower corner, upper corner and weight of the upper one; weight slope 0 where clamped (border)."""
    slope = np.float32(1.0)
    if not position > 0.0:  # also catches NaN
        position = np.float32(0.0)
        slope = np.float32(0.0)
    elif position > size - 1:
        position = np.float32(size - 1)
        slope = np.float32(0.0)
    low = int(position)
    high = min(low + 1, size - 1)
    return low, high, np.float32(position - low), slope


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def sample(volume, positions, out):
    """out[t, c] = volume at positions[:, t]; volume (I, J, K, C), positions (3, T), out (T, C)."""
    size_i, size_j, size_k, channels = volume.shape
    one = np.float32(1.0)
    for t in numba.prange(positions.shape[1]):
        i0, i1, wi, _ = _cell(positions[0, t], size_i)
        j0, j1, wj, _ = _cell(positions[1, t], size_j)
        k0, k1, wk, _ = _cell(positions[2, t], size_k)
        w00, w01 = (one - wi) * (one - wj), (one - wi) * wj
        w10, w11 = wi * (one - wj), wi * wj
        for c in range(channels):
            low = (
                w00 * volume[i0, j0, k0, c]
                + w01 * volume[i0, j1, k0, c]
                + w10 * volume[i1, j0, k0, c]
                + w11 * volume[i1, j1, k0, c]
            )
            high = (
                w00 * volume[i0, j0, k1, c]
                + w01 * volume[i0, j1, k1, c]
                + w10 * volume[i1, j0, k1, c]
                + w11 * volume[i1, j1, k1, c]
            )
            out[t, c] = low + wk * (high - low)


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def inverse(field, steps, close, faster, out):
    """Find out + field(x + out) = 0 at each voxel x; field and out (I, J, K, 3). See `space.compose`."""
    size_i, size_j, size_k = field.shape[:3]
    for row in numba.prange(size_i * size_j):
        i, j = row // size_j, row % size_j
        found, missed = np.zeros(3, np.float32), np.empty(3, np.float32)
        tried, misses = np.empty(3, np.float32), np.empty(3, np.float32)
        for k in range(size_k):
            # It hardly changes from voxel to voxel: what holds at the last one is where to begin.
            length = _missed_by(field, i, j, k, found, missed)
            pace = np.float32(1.0)
            for _ in range(steps):
                if length <= close * close:
                    break
                for c in range(3):
                    tried[c] = found[c] - pace * missed[c]
                new = _missed_by(field, i, j, k, tried, misses)
                if new < length:
                    length, pace = new, min(np.float32(1.0), faster * pace)
                    found[:], missed[:] = tried, misses
                else:
                    pace *= np.float32(0.5)
            out[i, j, k] = found


@numba.njit(inline="always")
def _missed_by(field, i, j, k, found, missed):
    """Write found + field(x + found) to missed and return its squared length."""
    one = np.float32(1.0)
    i0, i1, wi, _ = _cell(i + found[0], field.shape[0])
    j0, j1, wj, _ = _cell(j + found[1], field.shape[1])
    k0, k1, wk, _ = _cell(k + found[2], field.shape[2])
    w00, w01, w10, w11 = (one - wi) * (one - wj), (one - wi) * wj, wi * (one - wj), wi * wj
    length = np.float32(0.0)
    for c in range(3):
        low = w00 * field[i0, j0, k0, c] + w01 * field[i0, j1, k0, c]
        low += w10 * field[i1, j0, k0, c] + w11 * field[i1, j1, k0, c]
        high = w00 * field[i0, j0, k1, c] + w01 * field[i0, j1, k1, c]
        high += w10 * field[i1, j0, k1, c] + w11 * field[i1, j1, k1, c]
        missed[c] = found[c] + low + wk * (high - low)
        length += missed[c] * missed[c]
    return length


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def sample_position_gradient(volume, positions, grad_out, grad_positions):
    """grad_positions[a, t] = sum_c grad_out[t, c] * d sample[t, c] / d positions[a, t]."""
    size_i, size_j, size_k, channels = volume.shape
    one = np.float32(1.0)
    for t in numba.prange(positions.shape[1]):
        i0, i1, wi, slope_i = _cell(positions[0, t], size_i)
        j0, j1, wj, slope_j = _cell(positions[1, t], size_j)
        k0, k1, wk, slope_k = _cell(positions[2, t], size_k)
        # The eight corners, each contracted with the incoming gradient over the channels.
        a000 = a001 = a010 = a011 = a100 = a101 = a110 = a111 = np.float32(0.0)
        for c in range(channels):
            g = grad_out[t, c]
            a000 += g * volume[i0, j0, k0, c]
            a001 += g * volume[i0, j0, k1, c]
            a010 += g * volume[i0, j1, k0, c]
            a011 += g * volume[i0, j1, k1, c]
            a100 += g * volume[i1, j0, k0, c]
            a101 += g * volume[i1, j0, k1, c]
            a110 += g * volume[i1, j1, k0, c]
            a111 += g * volume[i1, j1, k1, c]
        ui, uj, uk = one - wi, one - wj, one - wk
        grad_positions[0, t] = slope_i * (
            uj * (uk * (a100 - a000) + wk * (a101 - a001)) + wj * (uk * (a110 - a010) + wk * (a111 - a011))
        )
        grad_positions[1, t] = slope_j * (
            ui * (uk * (a010 - a000) + wk * (a011 - a001)) + wi * (uk * (a110 - a100) + wk * (a111 - a101))
        )
        grad_positions[2, t] = slope_k * (
            ui * (uj * (a001 - a000) + wj * (a011 - a010)) + wi * (uj * (a101 - a100) + wj * (a111 - a110))
        )


@numba.njit(parallel=True, fastmath=_FASTMATH, cache=True)
def squared_difference(fixed, moving, positions, weight, loss, gradient):
    """Squared difference of `fixed` and of `moving` read at positions, and its gradient, in one pass.

    loss[t] = weight[t] sum_c (moving at positions[:, t] - fixed[t])^2, gradient[a, t] = d loss[t] / d
    positions[a, t]; fixed (T, C), moving (I, J, K, C), positions (3, T), weight and loss (T,), gradient
    (3, T). Where the weight is 0 nothing is read.
    """
    size_i, size_j, size_k, channels = moving.shape
    one, two = np.float32(1.0), np.float32(2.0)
    for t in numba.prange(positions.shape[1]):
        share = weight[t]
        if share == 0.0:
            loss[t] = gradient[0, t] = gradient[1, t] = gradient[2, t] = np.float32(0.0)
            continue
        i0, i1, wi, slope_i = _cell(positions[0, t], size_i)
        j0, j1, wj, slope_j = _cell(positions[1, t], size_j)
        k0, k1, wk, slope_k = _cell(positions[2, t], size_k)
        ui, uj, uk = one - wi, one - wj, one - wk
        total = along_i = along_j = along_k = np.float32(0.0)
        for c in range(channels):
            # Interpolated along k first, then along j: the slopes fall off on the way.
            a00 = uk * moving[i0, j0, k0, c] + wk * moving[i0, j0, k1, c]
            a01 = uk * moving[i0, j1, k0, c] + wk * moving[i0, j1, k1, c]
            a10 = uk * moving[i1, j0, k0, c] + wk * moving[i1, j0, k1, c]
            a11 = uk * moving[i1, j1, k0, c] + wk * moving[i1, j1, k1, c]
            d00 = moving[i0, j0, k1, c] - moving[i0, j0, k0, c]
            d01 = moving[i0, j1, k1, c] - moving[i0, j1, k0, c]
            d10 = moving[i1, j0, k1, c] - moving[i1, j0, k0, c]
            d11 = moving[i1, j1, k1, c] - moving[i1, j1, k0, c]
            low, high = uj * a00 + wj * a01, uj * a10 + wj * a11
            difference = ui * low + wi * high - fixed[t, c]
            total += difference * difference
            along_i += difference * (high - low)
            along_j += difference * (ui * (a01 - a00) + wi * (a11 - a10))
            along_k += difference * (ui * (uj * d00 + wj * d01) + wi * (uj * d10 + wj * d11))
        loss[t] = share * total
        gradient[0, t] = two * share * slope_i * along_i
        gradient[1, t] = two * share * slope_j * along_j
        gradient[2, t] = two * share * slope_k * along_k
