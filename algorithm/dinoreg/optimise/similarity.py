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


def lcc(fixed: Float[Tensor, "c *s"], *, window: int, epsilon: float = 1e-5) -> Similarity:
    """Return 1 - mean squared local cross-correlation over boxes of `window` voxels, mean over channels.

    Squared, so that inverted contrast counts as similar (Avants et al. 2008, eq. 5; VoxelMorph's NCC).
    `epsilon` is relative to the mean product of variances of `fixed` with itself: flat regions score 0.
    """
    boxes = [box_matrix(n, window, 1, device=fixed.device) for n in fixed.shape[1:]]

    def local_mean(volume: Tensor) -> Tensor:
        return apply_along_axes(volume, boxes)

    fixed_centred = fixed - fixed.mean(dim=tuple(range(1, fixed.ndim)), keepdim=True)
    fixed_mean = local_mean(fixed_centred)
    fixed_variance = (local_mean(fixed_centred.square()) - fixed_mean.square()).clamp(min=0)
    floor = epsilon * fixed_variance.square().mean().clamp(min=torch.finfo(fixed.dtype).tiny)

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        warped = warped - warped.detach().mean(dim=tuple(range(1, warped.ndim)), keepdim=True)
        mean = local_mean(warped)
        variance = (local_mean(warped.square()) - mean.square()).clamp(min=0)
        covariance = local_mean(warped * fixed_centred) - mean * fixed_mean
        correlation = covariance.square() / (variance * fixed_variance + floor)
        if weight is None:
            return 1 - correlation.mean()
        return 1 - (correlation.mean(dim=0, keepdim=True) * weight).sum() / weight.sum().clamp(min=1e-6)

    return distance
