"""The kernels as functions that autograd knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dinoreg.space.kernels.gpu import launch


def sample(volume: Tensor, positions: Tensor, *, relative: bool) -> Tensor:
    """Read a volume, (C, I, J, K), as `launch.sample` does; differentiable in the positions, (3, N)."""
    found: Tensor = _Sample.apply(volume, positions, relative)  # type: ignore[no-untyped-call]
    return found


def squared_difference(fixed: Tensor, moving: Tensor, displacement: Tensor, weight: Tensor | None) -> Tensor:
    """Compare as `launch.squared_difference` does; differentiable in the displacement, (3, I, J, K)."""
    found: Tensor = _SquaredDifference.apply(fixed, moving, displacement, weight)  # type: ignore[no-untyped-call]
    return found


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, positions: Tensor, relative: bool) -> Tensor:
        ctx.save_for_backward(volume, positions)
        ctx.relative = relative
        return launch.sample(volume, positions, relative=relative)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        volume, positions = ctx.saved_tensors
        gradient = launch.sample_position_gradient(volume, positions, grad_outputs[0], relative=ctx.relative)
        return None, gradient, None


class _SquaredDifference(torch.autograd.Function):
    """The value and its gradient in one go: the backward pass only scales."""

    @staticmethod
    def forward(
        ctx: Any, fixed: Tensor, moving: Tensor, displacement: Tensor, weight: Tensor | None
    ) -> Tensor:
        total, gradient = launch.squared_difference(fixed, moving, displacement, weight)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, None, gradient * grad_outputs[0], None
