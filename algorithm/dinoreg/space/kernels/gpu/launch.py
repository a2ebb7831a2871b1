"""Calls of the kernels: tensors in, tensors out, no autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dinoreg.space.kernels.gpu import fields
from dinoreg.space.kernels.gpu import sampling as kernels

BLOCK = 256  # targets of a program
VALUES = (torch.float32, torch.float16)  # that volumes may have
# Of cells: a kernel counts the three components of a displacement in 32 bits.
_MOST_CELLS = (2**31 - 1) // 3


def fits(volume: Tensor) -> bool:
    """Tell whether the kernels take a volume (C, *S), and displacements of its size."""
    return volume.dtype in VALUES and math.prod(volume.shape[1:]) <= _MOST_CELLS


def sample(volume: Tensor, positions: Tensor, *, relative: bool, block: int = BLOCK) -> Tensor:
    """Read a volume at positions.

    Args:
        volume: (C, I, J, K).
        positions: (3, N) voxels; where they are relative, less those of the N = I J K voxels.
        relative: what the positions are.
        block: targets of a program.

    Returns:
        (C, N) float32.
    """
    volume, count = _in_order(volume), positions.shape[1]
    out = positions.new_empty(volume.shape[0], count)
    _run(
        kernels.sample, count, block, volume, positions.contiguous(), out, count, *volume.shape,
        *_steps(volume), RELATIVE=relative,
    )  # fmt: skip
    return out


def sample_position_gradient(
    volume: Tensor, positions: Tensor, grad_out: Tensor, *, relative: bool, block: int = BLOCK
) -> Tensor:
    """Return the gradient of `sample` by the positions, (3, N), given that by its result, (C, N)."""
    volume, count = _in_order(volume), positions.shape[1]
    gradient = torch.empty_like(positions, memory_format=torch.contiguous_format)
    _run(
        kernels.sample_position_gradient, count, block, volume, positions.contiguous(),
        grad_out.contiguous(), gradient, count, *volume.shape, *_steps(volume), RELATIVE=relative,
    )  # fmt: skip
    return gradient


def squared_difference(
    fixed: Tensor, moving: Tensor, displacement: Tensor, weight: Tensor | None, *, block: int = BLOCK
) -> tuple[Tensor, Tensor]:
    """Return sum_x weight[x] sum_c (moving at x + u(x) - fixed[c, x])^2 and its gradient by u.

    Args:
        fixed: (C, I, J, K).
        moving: (C, I, J, K).
        displacement: u, (3, I, J, K) voxels.
        weight: (1, I, J, K) float32, or None for 1.
        block: cells of a program.

    Returns:
        A scalar, and (3, I, J, K).
    """
    fixed, moving, displacement = _in_order(fixed), _in_order(moving), displacement.contiguous()
    count = moving[0].numel()
    gradient = torch.empty_like(displacement)
    sums = displacement.new_empty(-(-count // block))
    _run(
        kernels.squared_difference, count, block, fixed, moving, displacement,
        displacement if weight is None else weight.contiguous(), sums, gradient, count, *moving.shape,
        *_steps(fixed), *_steps(moving), WEIGHTED=weight is not None,
    )  # fmt: skip
    return sums.sum(), gradient


def diffusion(
    displacement: Tensor, spacing_mm: Sequence[float], *, block: int = BLOCK
) -> tuple[Tensor, Tensor]:
    """Return sum_a mean |du / dx_a|^2 of u, (3, I, J, K) cells, and its gradient by u."""
    displacement = displacement.contiguous()
    count, shape = displacement[0].numel(), displacement.shape[1:]
    # Per difference along an axis: how many of them there are in all components, and the squared step.
    shares = [
        1 / (3 * count * (n - 1) / n * step**2) if n > 1 else 0.0
        for n, step in zip(shape, spacing_mm, strict=True)
    ]
    gradient = torch.empty_like(displacement)
    sums = displacement.new_empty(-(-count // block))
    squared = [float(step) ** 2 for step in spacing_mm]
    _run(fields.diffusion, count, block, displacement, sums, gradient, count, *shape, *squared, *shares)
    return sums.sum(), gradient


def determinant(displacement: Tensor, *, block: int = BLOCK) -> Tensor:
    """Return det(I + grad u) of u, (3, I, J, K) voxels, by central differences: (I, J, K)."""
    displacement = displacement.contiguous()
    out = torch.empty_like(displacement[0])
    _run(fields.determinant, out.numel(), block, displacement, out, out.numel(), *out.shape)
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
    block: int = BLOCK,
) -> None:
    """Take one step of Adam in place: parameter -= step_size mean / (root_scale sqrt(square) + epsilon).

    Args:
        parameter: contiguous, as are mean and square, which are brought up to date before.
        gradient: of the shape of the parameter.
        mean: of the gradients.
        square: mean of the squared gradients.
        step_size: with the correction of the mean.
        root_scale: correction of the root.
        betas: shares of mean and square that stay.
        epsilon: of the denominator.
        block: numbers of a program.
    """
    count = parameter.numel()
    _run(
        fields.adam, count, block, parameter, gradient.contiguous(), mean, square, count, step_size,
        root_scale, 1 - betas[0], betas[1], 1 - betas[1], epsilon,
    )  # fmt: skip


def _run(kernel: Any, count: int, block: int, first: Tensor, *arguments: Any, **constants: bool) -> None:
    if count:
        # Triton launches on the current device, whatever that of the tensors is.
        with torch.cuda.device_of(first):  # type: ignore[no-untyped-call]
            kernel[(-(-count // block),)](first, *arguments, **constants, BLOCK=block)


def _in_order(volume: Tensor) -> Tensor:
    """The volume, or a copy: voxels in the order of (I, J, K), whatever their distance."""
    return volume if volume.movedim(0, -1).is_contiguous() else volume.contiguous()


def _steps(volume: Tensor) -> tuple[int, int]:
    """Distance in memory of two channels and of two voxels; of a volume that is `_in_order`."""
    if volume.is_contiguous():
        return volume[0].numel(), 1
    return 1, volume.shape[0]
