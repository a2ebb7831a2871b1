"""Start from matching slices: which slice of one image looks like which slice of the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.encoders.evidence import SliceCodes, enough_foreground
from dinoreg.space.features import Features


@dataclass(frozen=True, slots=True, eq=False)
class SliceMatch:
    """How a shift was found, to be drawn.

    Attributes:
        codes: what was compared.
        axis: array axis across the slices.
        shift: fixed to moving, voxels.
        closest: number of pairs that decided; 0 where all did.
    """

    codes: SliceCodes
    axis: int
    shift: float
    closest: int


def slice_descriptors(features: Features, axis: int) -> tuple[Tensor, Tensor]:
    """Describe every slice across `axis` by the mean and spread of its foreground features.

    Args:
        features: (C, *S).
        axis: spatial axis, 0 the first.

    Returns:
        (n, 2 C) descriptors and (n,) bool, which slices have foreground (at least 5 % of the fullest one).
    """
    values = features.values.movedim(axis + 1, 0).flatten(2)  # (n, C, cells)
    weight = features.weight.movedim(axis + 1, 0).flatten(2)  # (n, 1, cells)
    total = weight.sum(dim=2)
    mean = (values * weight).sum(dim=2) / total.clamp(min=1e-6)
    variance = ((values - mean.unsqueeze(2)).square() * weight).sum(dim=2) / total.clamp(min=1e-6)
    return torch.cat([mean, variance.sqrt()], dim=1), enough_foreground(total[:, 0])


def slice_distances(fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the (n_fixed, n_moving) Euclidean distances of descriptors, each channel standardised."""
    both = torch.cat([fixed, moving])
    spread = both.std(dim=0).clamp(min=1e-6)
    return torch.cdist((fixed - both.mean(dim=0)) / spread, (moving - both.mean(dim=0)) / spread)


def compare_slices(fixed: Features, moving: Features, axis: int, *, origin: int = 0) -> SliceCodes:
    """Compare the slices of two feature volumes by mean and spread of their features.

    Args:
        fixed: on a lattice.
        moving: on the same lattice.
        axis: array axis across the slices.
        origin: voxel along it where the lattice begins.
    """
    fixed_descriptors, fixed_valid = slice_descriptors(fixed, axis)
    moving_descriptors, moving_valid = slice_descriptors(moving, axis)
    distances = slice_distances(fixed_descriptors, moving_descriptors)
    stride = fixed.lattice.stride[axis]
    at = [(torch.arange(n, device=distances.device) + 0.5) * stride - 0.5 + origin for n in distances.shape]
    return SliceCodes(distances, at[0], at[1], fixed_valid, moving_valid)


def match_slices(
    distances: Tensor,
    fixed_valid: Tensor,
    moving_valid: Tensor,
    *,
    closest: int,
    robust: bool,
    fixed_at: Tensor | None = None,
    moving_at: Tensor | None = None,
) -> float:
    """Return the shift along the axis, fixed to moving, from the closest pairs of slices.

    Song et al. 2024 (DINO-Reg), section 2.2: the mean difference of position of the `closest` pairs with the
    smallest distance. The robust variant takes, over all shifts, the one whose pairs of slices are closest
    on average, so that one look-alike pair cannot decide.

    Args:
        distances: (n, m).
        fixed_valid: (n,) bool; others take no part.
        moving_valid: (m,) bool.
        closest: number of pairs.
        robust: use the shift with the smallest mean distance instead.
        fixed_at: (n,) ascending positions of the slices; by default 0, 1, 2, ...
        moving_at: (m,) likewise.

    Returns:
        In the unit of the positions; 0 where nothing is valid.
    """
    allowed = fixed_valid.unsqueeze(1) & moving_valid.unsqueeze(0)
    if not bool(allowed.any()):
        return 0.0
    n, m = distances.shape
    fixed_at = torch.arange(n, device=distances.device).float() if fixed_at is None else fixed_at
    moving_at = torch.arange(m, device=distances.device).float() if moving_at is None else moving_at
    if robust:
        valid = distances[fixed_valid][:, moving_valid]
        return _shift_of_least_distance(valid, fixed_at[fixed_valid], moving_at[moving_valid])
    shift = moving_at - fixed_at.unsqueeze(1)
    masked = distances.masked_fill(~allowed, float("inf")).flatten()
    chosen = masked.topk(min(closest, int(allowed.sum())), largest=False).indices
    return float(shift.flatten()[chosen].double().mean())


def _shift_of_least_distance(distances: Tensor, fixed_at: Tensor, moving_at: Tensor) -> float:
    """Return the shift whose pairs of slices, read between the slices of moving, are closest on average.

    Shifts are whole units of position. Where the slices of moving lie several units apart, a parabola through
    the neighbours one such step away places the minimum between them.
    """
    step = float((moving_at[-1] - moving_at[0]) / max(1, len(moving_at) - 1))
    least = max(1.0, 0.5 * min(len(fixed_at), len(moving_at)))
    rows = torch.arange(len(fixed_at), device=distances.device)

    def mean_distance(shift: float) -> float:
        position = fixed_at + shift
        inside = (position >= moving_at[0] - 1e-3) & (position <= moving_at[-1] + 1e-3)
        if int(inside.sum()) < least:
            return float("inf")
        high = torch.searchsorted(moving_at, position.contiguous()).clamp(max=len(moving_at) - 1)
        low = (high - 1).clamp(min=0)
        width = (moving_at[high] - moving_at[low]).clamp(min=1e-6)
        share = ((position - moving_at[low]) / width).clamp(0, 1)
        between = (1 - share) * distances[rows, low] + share * distances[rows, high]
        return float(between[inside].mean())

    first = math.ceil(float(moving_at[0] - fixed_at[-1]))
    last = math.floor(float(moving_at[-1] - fixed_at[0]))
    candidates = {float(shift): mean_distance(shift) for shift in range(first, last + 1)}
    best = min(candidates, key=lambda shift: candidates[shift])
    if math.isinf(candidates[best]):  # too few slices ever meet
        return 0.0
    if step <= 1:
        return best
    before, at, after = mean_distance(best - step), candidates[best], mean_distance(best + step)
    curvature = before - 2 * at + after
    if not math.isfinite(curvature) or curvature <= 0:
        return best
    return best + max(-0.5, min(0.5, 0.5 * (before - after) / curvature)) * step
