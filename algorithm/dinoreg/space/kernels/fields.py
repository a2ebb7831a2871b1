"""Compiled CPU kernels of displacements, in one pass each; tensors in, tensors out, no autograd.

They take what `space.kernels.gpu.launch` takes by the same names. torch makes a whole field of every
difference on the way (benchmarks/bench_field_kernels.py). Like the filters, they sum in one order only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch
from torch import Tensor

from dinoreg.space.kernels.threads import follow_torch_threads


def diffusion(displacement: Tensor, spacing_mm: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return sum_a mean |du / dx_a|^2 of u, (3, I, J, K) cells, and its gradient by u."""
    u = displacement.detach().contiguous()
    shape = u.shape[1:]
    # Per axis, component and difference along the axis: its share of the term.
    counts = [3 * shape.numel() * (n - 1) / n * step**2 for n, step in zip(shape, spacing_mm, strict=True)]
    squared = np.square(np.asarray(spacing_mm, np.float32))
    shares = np.array([squared / count if count else np.zeros(3) for count in counts], np.float32)
    gradient = torch.empty_like(u)
    sums = np.empty(shape[0] * shape[1], np.float64)
    follow_torch_threads()
    diffusion_rows(u.numpy(), shares, gradient.numpy(), sums)
    return u.new_tensor(sums.sum()), gradient


def determinant(displacement: Tensor) -> Tensor:
    """Return det(I + grad u) of u, (3, I, J, K) voxels, by central differences: (I, J, K)."""
    u = displacement.detach().contiguous()
    out = torch.empty_like(u[0])
    follow_torch_threads()
    determinant_rows(u.numpy(), out.numpy())
    return out


def adam(
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    step_size: float,
    root_scale: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Take one step of Adam in place; of what, and in which order in memory, `gpu.launch.adam` says."""
    flat = [t.detach().view(-1).numpy() for t in (parameter, gradient.contiguous(), mean, square)]
    numbers = (1 - betas[0], betas[1], 1 - betas[1], step_size, root_scale, epsilon)
    follow_torch_threads()
    adam_numbers(*flat, *(np.float32(number) for number in numbers))


@numba.njit(parallel=True, cache=True)
def adam_numbers(parameter, gradient, mean, square, new, kept, added, step_size, root_scale, epsilon):
    """One step of Adam, number by number; `new`, `kept` and `added` are the shares of the means."""
    for n in numba.prange(len(parameter)):
        mean[n] += new * (gradient[n] - mean[n])
        square[n] = kept * square[n] + added * (gradient[n] * gradient[n])
        parameter[n] -= step_size * mean[n] / (root_scale * np.sqrt(square[n]) + epsilon)


@numba.njit(parallel=True, cache=True)
def diffusion_rows(u, shares, gradient, sums):
    """Sum shares (differences of u)^2 into sums, one per (i, j), and their gradient by u into gradient.

    u and gradient (3, I, J, K), shares (axis, component), sums (I J,).
    """
    size_i, size_j, size_k = u.shape[1:]
    for row in numba.prange(size_i * size_j):
        i, j = row // size_j, row % size_j
        energy = np.zeros(size_k, np.float32)  # of each voxel, so that nothing is summed across the lanes
        for c in range(3):
            here, out = u[c, i, j], gradient[c, i, j]
            out[:] = np.float32(0.0)
            if i > 0:
                _pull(here, u[c, i - 1, j], out, shares[0, c])
            if i < size_i - 1:
                _push(u[c, i + 1, j], here, out, energy, shares[0, c])
            if j > 0:
                _pull(here, u[c, i, j - 1], out, shares[1, c])
            if j < size_j - 1:
                _push(u[c, i, j + 1], here, out, energy, shares[1, c])
            _pull(here[1:], here[:-1], out[1:], shares[2, c])
            _push(here[1:], here[:-1], out[:-1], energy, shares[2, c])
        sums[row] = energy.sum()


@numba.njit(inline="always")
def _pull(high, low, out, share):
    """The part of a difference that pulls its upper end."""
    twice = np.float32(2.0) * share
    for k in range(len(out)):
        out[k] += twice * (high[k] - low[k])


@numba.njit(inline="always")
def _push(high, low, out, energy, share):
    """The part of a difference that pushes its lower end, where it is counted as well."""
    twice = np.float32(2.0) * share
    for k in range(len(out)):
        slope = high[k] - low[k]
        out[k] -= twice * slope
        energy[k] += share * (slope * slope)


@numba.njit(parallel=True, cache=True)
def determinant_rows(u, out):
    """Write det(I + grad u) to out; u (3, I, J, K), out (I, J, K)."""
    size_i, size_j, size_k = out.shape
    for row in numba.prange(size_i * size_j):
        i, j = row // size_j, row % size_j
        i0, i1, di = _neighbours(i, size_i)
        j0, j1, dj = _neighbours(j, size_j)
        # Rows of (component, upper and lower neighbour); the differences along k lie in the rows themselves.
        x, xi1, xi0, xj1, xj0 = u[0, i, j], u[0, i1, j], u[0, i0, j], u[0, i, j1], u[0, i, j0]
        y, yi1, yi0, yj1, yj0 = u[1, i, j], u[1, i1, j], u[1, i0, j], u[1, i, j1], u[1, i, j0]
        z, zi1, zi0, zj1, zj0 = u[2, i, j], u[2, i1, j], u[2, i0, j], u[2, i, j1], u[2, i, j0]
        slopes = np.empty((3, size_k), np.float32)
        _slopes(x, slopes[0])
        _slopes(y, slopes[1])
        _slopes(z, slopes[2])
        one, line = np.float32(1.0), out[i, j]
        for k in range(size_k):
            a, b, c = one + di * (xi1[k] - xi0[k]), dj * (xj1[k] - xj0[k]), slopes[0, k]
            d, e, f = di * (yi1[k] - yi0[k]), one + dj * (yj1[k] - yj0[k]), slopes[1, k]
            g, h, m = di * (zi1[k] - zi0[k]), dj * (zj1[k] - zj0[k]), one + slopes[2, k]
            line[k] = a * (e * m - f * h) - b * (d * m - f * g) + c * (d * h - e * g)


@numba.njit(inline="always")
def _neighbours(index, size):
    """Lower and upper neighbour within the volume, and one over their distance; 0 where both are one."""
    low, high = max(index - 1, 0), min(index + 1, size - 1)
    return low, high, np.float32(1.0 / (high - low) if high > low else 0.0)


@numba.njit(inline="always")
def _slopes(line, out):
    """Central differences along a line, one-sided at its ends."""
    size = len(line)
    for k in range(1, size - 1):
        out[k] = np.float32(0.5) * (line[k + 1] - line[k - 1])
    out[0] = line[min(1, size - 1)] - line[0]
    out[size - 1] = line[size - 1] - line[max(size - 2, 0)]
