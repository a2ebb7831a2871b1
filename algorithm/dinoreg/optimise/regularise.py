"""Regularity terms of a displacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import per_axis
from dinoreg.space.kernels.choice import field_kernels


def diffusion(displacement: Float[Tensor, "rank *s"], spacing_mm: Sequence[float]) -> Float[Tensor, ""]:
    """Return the mean squared gradient, summed over the axes: sum_a mean |du / dx_a|^2, dimensionless.

    Displacement and step are both taken in millimetres, so that the value does not depend on the lattice's
    anisotropy; on an isotropic lattice it equals the forward differences in cells.

    Args:
        displacement: (rank, *S) cells.
        spacing_mm: size of a cell.
    """
    total: Tensor = _Diffusion.apply(displacement, tuple(spacing_mm))  # type: ignore[no-untyped-call]
    return total


class _Diffusion(torch.autograd.Function):
    """The value and its gradient in one go, one axis at a time: autograd would keep a field per step."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, spacing_mm: tuple[float, ...]) -> Tensor:
        if (kernels := field_kernels(displacement)) is not None:
            found, gradient = kernels.diffusion(displacement, spacing_mm)
            ctx.save_for_backward(gradient)
            return found  # type: ignore[no-any-return]
        squared_mm = per_axis(spacing_mm, displacement).square()
        total = displacement.new_zeros(())
        gradient = torch.zeros_like(displacement)
        for axis, step in enumerate(spacing_mm, start=1):
            if displacement.shape[axis] > 1:
                slope = torch.diff(displacement, dim=axis)
                count = slope.numel() * step**2
                total = total + (slope.square().flatten(1).sum(dim=1) * squared_mm.flatten()).sum() / count
                slope.mul_(2 * squared_mm / count)
                size = slope.shape[axis]
                gradient.narrow(axis, 1, size).add_(slope)
                gradient.narrow(axis, 0, size).sub_(slope)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None
