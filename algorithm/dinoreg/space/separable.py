"""Separable linear operators on lattices, one small matrix per axis.

Smoothing, interpolation between lattices and B-splines are all linear and act on each axis alone. As
matrices they are exact at the border, differentiable, deterministic on every device and fast: a 96^3 field
is smoothed by three products with a 96 x 96 matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Border = Literal["replicate", "zero"]


def apply_along_axes(volume: Float[Tensor, "c *s"], matrices: Sequence[Tensor]) -> Float[Tensor, "c *t"]:
    """Apply one matrix along each spatial axis.

    Args:
        volume: (C, *S).
        matrices: per spatial axis, (m_a, n_a) with n_a = S[a].

    Returns:
        (C, *M) with M[a] = m_a.
    """
    for axis, matrix in enumerate(matrices, start=1):
        before, after = volume.shape[:axis], volume.shape[axis + 1 :]
        if after:
            flat = volume.reshape(before.numel(), matrix.shape[1], after.numel())
            volume = torch.matmul(matrix, flat).reshape(*before, matrix.shape[0], *after)
        else:
            volume = torch.matmul(volume, matrix.T)
    return volume


def box_matrix(
    size: int,
    width: int,
    repeats: int,
    *,
    border: Border = "replicate",
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n n"]:
    """Return (size, size): `repeats` box filters of odd `width` in turn, each with padding at the border.

    With "zero" a constant falls towards 0 at the border, as ConvexAdam's public code has it.
    """
    if width % 2 == 0:
        raise ValueError(f"box filter: the width must be odd, got {width}")
    index = torch.arange(size)
    single = torch.zeros(size, size, dtype=torch.float64)
    for offset in range(-(width // 2), width // 2 + 1):
        source = index + offset
        inside = (source >= 0) & (source < size) if border == "zero" else torch.ones(size, dtype=torch.bool)
        single[index[inside], source.clamp(0, size - 1)[inside]] += 1 / width
    repeated: Tensor = torch.linalg.matrix_power(single, repeats)
    return repeated.to(device, torch.float32)


def interpolation_matrix(
    size_out: int, size_in: int, stride: float, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "n m"]:
    """Return (size_out, size_in): linear interpolation from a lattice `stride` times coarser.

    Convention: coarse centre c lies at fine position (c + 0.5) * stride - 0.5; border values replicate.
    """
    position = ((torch.arange(size_out, dtype=torch.float64) + 0.5) / stride - 0.5).clamp(0, size_in - 1)
    low = position.floor().long().clamp(max=max(size_in - 2, 0))
    weight = position - low
    matrix = torch.zeros(size_out, size_in, dtype=torch.float64)
    rows = torch.arange(size_out)
    matrix[rows, low] += 1 - weight
    matrix[rows, (low + 1).clamp(max=size_in - 1)] += weight
    result: Tensor = matrix.to(device, torch.float32)
    return result


def averaging_matrix(
    size_out: int, size_in: int, step: float, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "n m"]:
    """Return (size_out, size_in): linear interpolation, and where cells are wider the mean over each of them.

    Convention: output cell c covers the input positions [c step - 0.5, (c + 1) step - 0.5). The last one may
    reach over the edge, whose value then holds.

    Args:
        size_out: number of output cells.
        size_in: number of input cells.
        step: width of an output cell in input cells.
        device: of the matrix.
    """
    points = max(1, math.ceil(step - 1e-6))
    matrix = interpolation_matrix(size_out * points, size_in, points / step, device=device)
    return matrix.view(size_out, points, size_in).mean(dim=1)
