"""Similarity of warped to fixed feature volumes, optionally weighted per voxel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.separable import apply_along_axes, box_matrix

# A similarity: (warped (C, *S), weight (1, *S) or None) -> scalar to be minimised, with `fixed` bound.
Similarity = Callable[[Tensor, Tensor | None], Tensor]


def ssd(fixed: Float[Tensor, "c *s"]) -> Similarity:
    """Return the sum over channels of squared differences, averaged over voxels (or by weight)."""

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        squared = (warped - fixed).square()
        if weight is None:
            return squared.sum() / fixed[0].numel()
        return (squared.sum(dim=0, keepdim=True) * weight).sum() / weight.sum().clamp(min=1e-6)

    return distance


def ncc(fixed: Float[Tensor, "c *s"], *, epsilon: float = 1e-5) -> Similarity:
    """Return 1 - the correlation over all voxels, mean over channels: 0 where equal, 2 where inverted.

    Signed, unlike `lcc`: for images of one modality (Koegl et al. 2024). `epsilon` is relative to the
    variance of `fixed`: flat images score 1.
    """

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        share = torch.ones_like(fixed[:1]) if weight is None else weight
        share = share / share.sum().clamp(min=1e-6)
        axes = tuple(range(1, fixed.ndim))
        fixed_centred, warped_centred = (v - (v * share).sum(dim=axes, keepdim=True) for v in (fixed, warped))
        fixed_variance, warped_variance = (
            (v.square() * share).sum(dim=axes) for v in (fixed_centred, warped_centred)
        )
        # The second part is above what rounding makes of a flat image.
        floor = epsilon * fixed_variance + epsilon**2 * fixed.square().mean()
        floor = floor + torch.finfo(fixed.dtype).tiny
        covariance = (fixed_centred * warped_centred * share).sum(dim=axes)
        return 1 - (covariance / ((fixed_variance + floor) * (warped_variance + floor)).sqrt()).mean()

    return distance


def lcc(fixed: Float[Tensor, "c *s"], *, window: int, floor: Tensor | None = None) -> Similarity:
    """Return 1 - mean squared local cross-correlation over boxes of `window` voxels, mean over channels.

    Squared, so that inverted contrast counts as similar (Avants et al. 2008, eq. 5; VoxelMorph's NCC).

    Args:
        fixed: (C, *S).
        window: voxels, odd.
        floor: of the product of variances, so that flat regions score 0; by default that of these channels
            (`lcc_floor`).
    """
    floor = lcc_floor(fixed, window=window) if floor is None else floor
    boxes = _boxes(fixed, window)
    fixed_centred = _centred(fixed)
    fixed_mean = apply_along_axes(fixed_centred, boxes)
    fixed_variance = (apply_along_axes(fixed_centred.square(), boxes) - fixed_mean.square()).clamp(min=0)

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        warped = _centred(warped)
        mean = apply_along_axes(warped, boxes)
        variance = (apply_along_axes(warped.square(), boxes) - mean.square()).clamp(min=0)
        covariance = apply_along_axes(warped * fixed_centred, boxes) - mean * fixed_mean
        correlation = covariance.square() / (variance * fixed_variance + floor)
        if weight is None:
            return 1 - correlation.mean()
        return 1 - (correlation.mean(dim=0, keepdim=True) * weight).sum() / weight.sum().clamp(min=1e-6)

    return distance


def lcc_floor(fixed: Tensor, *, window: int, channels: int | None = None, epsilon: float = 1e-5) -> Tensor:
    """Return `epsilon` times the mean squared local variance, a scalar.

    Args:
        fixed: (C, *S).
        window: voxels, odd.
        channels: that are looked at together; by default all. It changes the memory, not the result.
        epsilon: relative to the product of variances of `fixed` with itself.
    """
    boxes = _boxes(fixed, window)
    total = fixed.new_zeros(())
    for block in torch.split(fixed, channels or len(fixed)):
        centred = _centred(block)
        variance = apply_along_axes(centred.square(), boxes) - apply_along_axes(centred, boxes).square()
        total = total + variance.clamp(min=0).square().mean() * (len(block) / len(fixed))
    return epsilon * total.clamp(min=torch.finfo(fixed.dtype).tiny)


def _boxes(volume: Tensor, window: int) -> list[Tensor]:
    return [box_matrix(n, window, 1, device=volume.device) for n in volume.shape[1:]]


def _centred(volume: Tensor) -> Tensor:
    """Less the mean of each channel, for which no gradient is wanted: local means do not see it.

    Channel after channel in memory, where the filters are several times as fast as on the samplers' order.
    """
    centred = volume - volume.detach().mean(dim=tuple(range(1, volume.ndim)), keepdim=True)
    return centred.contiguous()
