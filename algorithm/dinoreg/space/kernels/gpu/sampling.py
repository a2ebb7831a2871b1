"""Kernels of the linear sampler, of its gradient, and of the SSD under it with its gradient.

A program does a run of targets, channel by channel: neighbours read neighbouring cells where the
displacement is smooth. Every target gathers for itself, so that nothing is added up by atomics and a result
repeats bit for bit. Values are float32 or float16; sums are float32. Volumes come with the distance in memory
between two channels and between two voxels; the latter lie in the order of (I, J, K).
"""

from __future__ import annotations

from dinoreg.space.kernels.gpu.language import jit, tl

_NUMBERS = (
    "count", "channels", "size_i", "size_j", "size_k",
    "volume_channel", "volume_voxel", "fixed_channel", "fixed_voxel",
)  # fmt: skip


@jit()
def _cell(position, size):
    """Lower corner, upper corner, weight of the upper one, and its slope: 0 where clamped (border)."""
    above = position > 0.0  # false for NaN
    clamped = tl.where(above, position, 0.0)
    top = (size - 1).to(tl.float32)
    within = clamped <= top
    clamped = tl.where(within, clamped, top)
    low = clamped.to(tl.int32)
    high = tl.minimum(low + 1, size - 1)
    return low, high, clamped - low.to(tl.float32), tl.where(above & within, 1.0, 0.0)


@jit()
def _cells(positions, t, there, count, size_i, size_j, size_k, RELATIVE: tl.constexpr):
    """Cells of targets t along all axes; positions (3, count), with RELATIVE less those of the targets."""
    at_i = tl.load(positions + t, mask=there, other=0.0)
    at_j = tl.load(positions + count + t, mask=there, other=0.0)
    at_k = tl.load(positions + 2 * count + t, mask=there, other=0.0)
    if RELATIVE:
        row = t // size_k
        at_i += (row // size_j).to(tl.float32)
        at_j += (row % size_j).to(tl.float32)
        at_k += (t % size_k).to(tl.float32)
    i0, i1, wi, slope_i = _cell(at_i, size_i)
    j0, j1, wj, slope_j = _cell(at_j, size_j)
    k0, k1, wk, slope_k = _cell(at_k, size_k)
    return i0, i1, wi, slope_i, j0, j1, wj, slope_j, k0, k1, wk, slope_k


@jit()
def _offsets(i0, i1, j0, j1, k0, k1, size_j, size_k, voxel):
    """Where the eight corners are in memory; 64 bits, for what is larger than 2^31 values."""
    row00, row01 = (i0 * size_j + j0) * size_k, (i0 * size_j + j1) * size_k
    row10, row11 = (i1 * size_j + j0) * size_k, (i1 * size_j + j1) * size_k
    step = voxel.to(tl.int64)
    return (
        (row00 + k0) * step,
        (row00 + k1) * step,
        (row01 + k0) * step,
        (row01 + k1) * step,
        (row10 + k0) * step,
        (row10 + k1) * step,
        (row11 + k0) * step,
        (row11 + k1) * step,
    )


@jit()
def _read(channel, at, there):
    return tl.load(channel + at, mask=there, other=0.0).to(tl.float32)


@jit(numbers=_NUMBERS)
def sample(
    volume, positions, out, count, channels, size_i, size_j, size_k, volume_channel, volume_voxel,
    RELATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[c, t] = volume at positions[:, t]; out (channels, count)."""
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = t < count
    i0, i1, wi, _, j0, j1, wj, _, k0, k1, wk, _ = _cells(
        positions, t, there, count, size_i, size_j, size_k, RELATIVE
    )
    o000, o001, o010, o011, o100, o101, o110, o111 = _offsets(
        i0, i1, j0, j1, k0, k1, size_j, size_k, volume_voxel
    )
    for _ in range(channels):
        a00, a01 = _read(volume, o000, there), _read(volume, o010, there)
        a10, a11 = _read(volume, o100, there), _read(volume, o110, there)
        a00 += wk * (_read(volume, o001, there) - a00)
        a01 += wk * (_read(volume, o011, there) - a01)
        a10 += wk * (_read(volume, o101, there) - a10)
        a11 += wk * (_read(volume, o111, there) - a11)
        low, high = a00 + wj * (a01 - a00), a10 + wj * (a11 - a10)
        tl.store(out + t, low + wi * (high - low), mask=there)
        volume += volume_channel
        out += count


@jit(numbers=_NUMBERS)
def sample_position_gradient(
    volume, positions, grad_out, grad_positions, count, channels, size_i, size_j, size_k, volume_channel,
    volume_voxel, RELATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """grad_positions[a, t] = sum_c grad_out[c, t] * d sample[c, t] / d positions[a, t]."""
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = t < count
    i0, i1, wi, slope_i, j0, j1, wj, slope_j, k0, k1, wk, slope_k = _cells(
        positions, t, there, count, size_i, size_j, size_k, RELATIVE
    )
    o000, o001, o010, o011, o100, o101, o110, o111 = _offsets(
        i0, i1, j0, j1, k0, k1, size_j, size_k, volume_voxel
    )
    along_i = tl.zeros((BLOCK,), tl.float32)
    along_j = tl.zeros((BLOCK,), tl.float32)
    along_k = tl.zeros((BLOCK,), tl.float32)
    for _ in range(channels):
        incoming = tl.load(grad_out + t, mask=there, other=0.0)
        a00, a01 = _read(volume, o000, there), _read(volume, o010, there)
        a10, a11 = _read(volume, o100, there), _read(volume, o110, there)
        d00, d01 = _read(volume, o001, there) - a00, _read(volume, o011, there) - a01
        d10, d11 = _read(volume, o101, there) - a10, _read(volume, o111, there) - a11
        a00, a01, a10, a11 = a00 + wk * d00, a01 + wk * d01, a10 + wk * d10, a11 + wk * d11
        low, high = a00 + wj * (a01 - a00), a10 + wj * (a11 - a10)
        d0, d1 = d00 + wj * (d01 - d00), d10 + wj * (d11 - d10)
        along_i += incoming * (high - low)
        along_j += incoming * ((a01 - a00) + wi * ((a11 - a10) - (a01 - a00)))
        along_k += incoming * (d0 + wi * (d1 - d0))
        volume += volume_channel
        grad_out += count
    tl.store(grad_positions + t, slope_i * along_i, mask=there)
    tl.store(grad_positions + count + t, slope_j * along_j, mask=there)
    tl.store(grad_positions + 2 * count + t, slope_k * along_k, mask=there)


@jit(numbers=_NUMBERS)
def squared_difference(
    fixed, volume, displacement, weight, sums, gradient, count, channels, size_i, size_j, size_k,
    fixed_channel, fixed_voxel, volume_channel, volume_voxel, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Squared difference of `fixed` and of `volume` read at x + u(x), and its gradient by u, in one pass.

    sums[b] is the sum over the targets of program b of weight[t] sum_c (volume at t - fixed[c, t])^2;
    gradient (3, count). Without WEIGHTED every target counts as 1. Where the weight is 0 nothing is read.
    """
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = t < count
    if WEIGHTED:
        share = tl.load(weight + t, mask=there, other=0.0)
        counts = there & (share != 0.0)
    else:
        share = tl.full((BLOCK,), 1.0, tl.float32)
        counts = there
    i0, i1, wi, slope_i, j0, j1, wj, slope_j, k0, k1, wk, slope_k = _cells(
        displacement, t, there, count, size_i, size_j, size_k, True
    )
    o000, o001, o010, o011, o100, o101, o110, o111 = _offsets(
        i0, i1, j0, j1, k0, k1, size_j, size_k, volume_voxel
    )
    at = t * fixed_voxel.to(tl.int64)
    total = tl.zeros((BLOCK,), tl.float32)
    along_i = tl.zeros((BLOCK,), tl.float32)
    along_j = tl.zeros((BLOCK,), tl.float32)
    along_k = tl.zeros((BLOCK,), tl.float32)
    for _ in range(channels):
        a00, a01 = _read(volume, o000, counts), _read(volume, o010, counts)
        a10, a11 = _read(volume, o100, counts), _read(volume, o110, counts)
        d00, d01 = _read(volume, o001, counts) - a00, _read(volume, o011, counts) - a01
        d10, d11 = _read(volume, o101, counts) - a10, _read(volume, o111, counts) - a11
        a00, a01, a10, a11 = a00 + wk * d00, a01 + wk * d01, a10 + wk * d10, a11 + wk * d11
        low, high = a00 + wj * (a01 - a00), a10 + wj * (a11 - a10)
        d0, d1 = d00 + wj * (d01 - d00), d10 + wj * (d11 - d10)
        difference = low + wi * (high - low) - _read(fixed, at, counts)
        total += difference * difference
        along_i += difference * (high - low)
        along_j += difference * ((a01 - a00) + wi * ((a11 - a10) - (a01 - a00)))
        along_k += difference * (d0 + wi * (d1 - d0))
        volume += volume_channel
        fixed += fixed_channel
    tl.store(sums + tl.program_id(0), tl.sum(share * total))
    tl.store(gradient + t, 2.0 * share * slope_i * along_i, mask=there)
    tl.store(gradient + count + t, 2.0 * share * slope_j * along_j, mask=there)
    tl.store(gradient + 2 * count + t, 2.0 * share * slope_k * along_k, mask=there)
