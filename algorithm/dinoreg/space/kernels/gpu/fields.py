"""Kernels of a displacement alone: its regularity with the gradient, its determinant, a step of Adam.

Displacements are (3, I, J, K), contiguous, float32. Nothing is added up by atomics.
"""

from __future__ import annotations

from dinoreg.space.kernels.gpu.language import jit, tl

_NUMBERS = ("count", "size_i", "size_j", "size_k")


@jit()
def _slopes(component, t, here, index, size, stride):
    """Differences to the neighbours before and after along an axis, 0 where there is none."""
    before, after = index > 0, index + 1 < size
    value = tl.load(component + t, mask=here, other=0.0)
    back = tl.load(component + t - stride, mask=here & before, other=0.0)
    ahead = tl.load(component + t + stride, mask=here & after, other=0.0)
    return tl.where(before, value - back, 0.0), tl.where(after, ahead - value, 0.0)


@jit(numbers=_NUMBERS)
def diffusion(
    displacement, sums, gradient, count, size_i, size_j, size_k, squared_i, squared_j, squared_k,
    share_i, share_j, share_k, BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted squared forward differences, summed per program, and their gradient.

    squared_a: of component a, mm^2; share_a: of the differences along axis a.
    """
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = t < count
    row = t // size_k
    i, j, k = row // size_j, row % size_j, t % size_k
    total = tl.zeros((BLOCK,), tl.float32)
    for component in tl.static_range(3):
        values = displacement + component * count
        squared = squared_i if component == 0 else (squared_j if component == 1 else squared_k)
        back_i, ahead_i = _slopes(values, t, here, i, size_i, size_j * size_k)
        back_j, ahead_j = _slopes(values, t, here, j, size_j, size_k)
        back_k, ahead_k = _slopes(values, t, here, k, size_k, 1)
        total += squared * (
            share_i * ahead_i * ahead_i + share_j * ahead_j * ahead_j + share_k * ahead_k * ahead_k
        )
        slope = share_i * (back_i - ahead_i) + share_j * (back_j - ahead_j) + share_k * (back_k - ahead_k)
        tl.store(gradient + component * count + t, 2.0 * squared * slope, mask=here)
    tl.store(sums + tl.program_id(0), tl.sum(tl.where(here, total, 0.0)))


@jit()
def _central(component, t, here, index, size, stride):
    """Central difference along an axis, one-sided at the border, 0 where the axis has one cell."""
    back, ahead = _slopes(component, t, here, index, size, stride)
    inner = (index > 0) & (index + 1 < size)
    return (back + ahead) * tl.where(inner, 0.5, 1.0)


@jit(numbers=_NUMBERS)
def determinant(displacement, out, count, size_i, size_j, size_k, BLOCK: tl.constexpr):
    """out[t] = det(I + grad u) at cell t."""
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = t < count
    row = t // size_k
    i, j, k = row // size_j, row % size_j, t % size_k
    second, third = displacement + count, displacement + 2 * count
    a11 = 1.0 + _central(displacement, t, here, i, size_i, size_j * size_k)
    a12 = _central(displacement, t, here, j, size_j, size_k)
    a13 = _central(displacement, t, here, k, size_k, 1)
    a21 = _central(second, t, here, i, size_i, size_j * size_k)
    a22 = 1.0 + _central(second, t, here, j, size_j, size_k)
    a23 = _central(second, t, here, k, size_k, 1)
    a31 = _central(third, t, here, i, size_i, size_j * size_k)
    a32 = _central(third, t, here, j, size_j, size_k)
    a33 = 1.0 + _central(third, t, here, k, size_k, 1)
    found = a11 * (a22 * a33 - a23 * a32) - a12 * (a21 * a33 - a23 * a31) + a13 * (a21 * a32 - a22 * a31)
    tl.store(out + t, found, mask=here)


@jit(numbers=("count",))
def adam(
    parameter, gradient, mean, square, count, step_size, root_scale, gain_1, keep_2, gain_2, epsilon,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One step of Adam on `count` numbers, in place.

    gain_1 and gain_2 are 1 - beta: as differences of float32 they would be off by 1e-5.
    """
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = t < count
    slope = tl.load(gradient + t, mask=here, other=0.0)
    first = tl.load(mean + t, mask=here, other=0.0)
    second = tl.load(square + t, mask=here, other=0.0)
    value = tl.load(parameter + t, mask=here, other=0.0)
    first += (slope - first) * gain_1
    second = second * keep_2 + slope * slope * gain_2
    value -= step_size * first / (tl.sqrt_rn(second) * root_scale + epsilon)
    tl.store(mean + t, first, mask=here)
    tl.store(square + t, second, mask=here)
    tl.store(parameter + t, value, mask=here)
