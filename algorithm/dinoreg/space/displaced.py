"""Reading and comparing at x + u(x), on the lattice of u: what an optimiser does in every iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import identity_positions
from dinoreg.space.kernels.choice import on_gpu
from dinoreg.space.sampling import channels_last, has_gpu_kernels, sample_linear, squared_difference


def in_reading_order(volume: Float[Tensor, "c *s"]) -> Float[Tensor, "c *s"]:
    """Return the same (C, *S) values in the memory order that `sample_displaced` likes best.

    A CPU's kernels read all channels of a voxel at once, a GPU's neighbouring voxels of one channel. Call it
    once on a volume that is sampled many times.
    """
    return volume.contiguous() if on_gpu(volume.device) else channels_last(volume)


def sample_displaced(
    volume: Float[Tensor, "c *s"], displacement: Float[Tensor, "rank *s"]
) -> Float[Tensor, "c *s"]:
    """Read a volume at x + u(x) by linear interpolation, border replicated.

    Args:
        volume: (C, *S), rank 2 or 3.
        displacement: u, (rank, *S) voxels.

    Returns:
        (C, *S), differentiable in `displacement`.
    """
    if has_gpu_kernels(volume, displacement):
        from dinoreg.space.kernels.gpu import differentiable

        found = differentiable.sample(_deep(volume), _deep_vectors(displacement).flatten(1), relative=True)
        return found.reshape(volume.shape)
    return sample_linear(volume, identity_positions(volume.shape[1:], device=volume.device) + displacement)


def bind_squared_difference(
    fixed: Float[Tensor, "c *s"],
    moving: Float[Tensor, "c *s"],
    weight: Float[Tensor, "1 *s"] | None,
) -> Callable[[Tensor], Tensor]:
    """Return u -> sum_x weight[x] sum_c (moving at x + u(x) - fixed[c, x])^2, all else being prepared.

    Args:
        fixed: (C, *S).
        moving: (C, *S), rank 2 or 3.
        weight: (1, *S), or None for 1.

    Returns:
        A function of a displacement, (rank, *S) voxels, differentiable in it; where there are kernels,
        one pass that keeps nothing of the size of the features.
    """
    fixed, moving = in_reading_order(fixed), in_reading_order(moving)
    identity = identity_positions(fixed.shape[1:], device=fixed.device)
    if not fixed.requires_grad and has_gpu_kernels(moving, identity):
        return _bind_on_gpu(fixed, moving, weight)
    counted = torch.ones_like(identity[:1]) if weight is None else weight
    return lambda displacement: squared_difference(fixed, moving, identity + displacement, counted)


def _bind_on_gpu(fixed: Tensor, moving: Tensor, weight: Tensor | None) -> Callable[[Tensor], Tensor]:
    from dinoreg.space.kernels.gpu import differentiable

    fixed, moving = _deep(fixed), _deep(moving)
    counted = None if weight is None else _deep(weight.to(torch.float32))
    return lambda displacement: differentiable.squared_difference(
        fixed, moving, _deep_vectors(displacement), counted
    )


def _deep(volume: Tensor) -> Tensor:
    """(C, I, J, K): a plane gets an axis of size 1."""
    return volume.unsqueeze(-1) if volume.ndim == 3 else volume


def _deep_vectors(displacement: Tensor) -> Tensor:
    """(3, I, J, K): nothing moves along the axis that a plane gets."""
    if displacement.shape[0] == 3:
        return displacement
    return torch.cat([displacement, torch.zeros_like(displacement[:1])]).unsqueeze(-1)
