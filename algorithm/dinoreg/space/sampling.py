"""Linear sampling of volumes at voxel positions, differentiable in the positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import to_sampling_grid
from dinoreg.space.kernels import cpu as _cpu_kernels
from dinoreg.space.kernels.choice import on_gpu
from dinoreg.space.kernels.threads import follow_torch_threads


def channels_last(volume: Float[Tensor, "c *s"]) -> Float[Tensor, "c *s"]:
    """Return the same (C, *S) values with the channels of a voxel contiguous, as the CPU sampler reads them.

    Call it once on a volume that is sampled many times.
    """
    return volume.movedim(0, -1).contiguous().movedim(-1, 0)


def sample_linear(
    volume: Float[Tensor, "c *s"], positions: Float[Tensor, "rank *t"]
) -> Float[Tensor, "c *t"]:
    """Read a volume at positions by linear interpolation; outside it, its border value.

    Convention: positions in voxels of `volume`, component a along array axis a.

    Args:
        volume: (C, *S), rank 2 or 3.
        positions: (rank, *T); T may have any number of axes.

    Returns:
        (C, *T), differentiable in `positions` and, where `volume` requires it, in `volume`.
    """
    rank = volume.ndim - 1
    target = positions.shape[1:]
    flat = positions.reshape(rank, -1)
    by_gpu = has_gpu_kernels(volume, positions)
    if _needs_torch(volume) and not by_gpu:
        return _sample_torch(volume, flat).reshape(volume.shape[0], *target)
    if rank == 2:  # a size-1 axis makes a plane of it; its position is 0
        volume, flat = volume.unsqueeze(-1), torch.cat([flat, torch.zeros_like(flat[:1])])
    sampled: Tensor
    if by_gpu:
        from dinoreg.space.kernels.gpu import differentiable

        sampled = differentiable.sample(volume, flat, relative=False)
    else:
        sampled = _CpuSample.apply(volume, flat)  # type: ignore[no-untyped-call]
    return sampled.reshape(volume.shape[0], *target)


def _sample_torch(volume: Tensor, positions: Tensor) -> Tensor:
    """`sample_linear` by `grid_sample`; positions (rank, N) -> (C, N)."""
    rank = volume.ndim - 1
    grid = to_sampling_grid(positions.to(volume.dtype), volume.shape[1:])  # (1, N, rank)
    grid = grid.reshape(1, -1, *([1] * (rank - 1)), rank)
    out = F.grid_sample(
        volume.unsqueeze(0), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return out.reshape(volume.shape[0], -1)


def squared_difference(
    fixed: Float[Tensor, "c *t"],
    moving: Float[Tensor, "c *s"],
    positions: Float[Tensor, "rank *t"],
    weight: Float[Tensor, "1 *t"],
) -> Float[Tensor, ""]:
    """Return sum_t weight[t] sum_c (moving at positions[:, t] - fixed[c, t])^2, a scalar.

    The same as reading `moving` by `sample_linear` and comparing, but on the CPU in one compiled pass that
    keeps nothing of the size of the features.

    Args:
        fixed: (C, *T).
        moving: (C, *S), rank 2 or 3.
        positions: (rank, *T) voxels of `moving`.
        weight: (1, *T).

    Returns:
        Differentiable in `positions`; on the CPU with float32 volumes without gradients in those only.
    """
    rank = moving.ndim - 1
    flat = positions.reshape(rank, -1)
    if _needs_torch(moving) or fixed.requires_grad:
        difference = _sample_torch(moving, flat) - fixed.reshape(fixed.shape[0], -1)
        return (difference.square().sum(dim=0) * weight.reshape(-1)).sum()
    if rank == 2:
        moving, flat = moving.unsqueeze(-1), torch.cat([flat, torch.zeros_like(flat[:1])])
    total: Tensor = _CpuSquaredDifference.apply(fixed, moving, flat, weight)  # type: ignore[no-untyped-call]
    return total


def has_gpu_kernels(volume: Tensor, positions: Tensor) -> bool:
    """Tell whether Triton reads a volume, (C, *S), at positions or displacements, (rank, *T)."""
    if volume.requires_grad or positions.dtype != torch.float32 or not on_gpu(volume.device):
        return False
    from dinoreg.space.kernels.gpu import launch

    return launch.fits(volume) and launch.fits(positions)


def _needs_torch(volume: Tensor) -> bool:
    return volume.requires_grad or volume.device.type != "cpu" or volume.dtype != torch.float32


class _CpuSample(torch.autograd.Function):
    """The compiled sampler: volume (C, I, J, K) and positions (3, N), float32, CPU."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, positions: Tensor) -> Tensor:
        volume = channels_last(volume.detach())
        positions = positions.detach().contiguous()
        ctx.save_for_backward(volume, positions)
        out = torch.empty(positions.shape[1], volume.shape[0])
        follow_torch_threads()
        _cpu_kernels.sample(volume.movedim(0, -1).numpy(), positions.numpy(), out.numpy())
        return out.T

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        volume, positions = ctx.saved_tensors
        grad_positions = torch.empty_like(positions)
        _cpu_kernels.sample_position_gradient(
            volume.movedim(0, -1).numpy(),
            positions.numpy(),
            grad_outputs[0].T.contiguous().numpy(),
            grad_positions.numpy(),
        )
        return None, grad_positions


class _CpuSquaredDifference(torch.autograd.Function):
    """The compiled comparison: fixed (C, *T), moving (C, I, J, K), positions (3, N), weight N values."""

    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moving: Tensor, positions: Tensor, weight: Tensor) -> Tensor:
        count = positions.shape[1]
        loss, gradient = torch.empty(count), torch.empty(3, count)
        follow_torch_threads()
        _cpu_kernels.squared_difference(
            channels_last(fixed).movedim(0, -1).reshape(count, -1).numpy(),
            channels_last(moving).movedim(0, -1).numpy(),
            positions.detach().contiguous().numpy(),
            weight.reshape(-1).contiguous().numpy(),
            loss.numpy(),
            gradient.numpy(),
        )
        ctx.save_for_backward(gradient)
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, None, gradient * grad_outputs[0], None
