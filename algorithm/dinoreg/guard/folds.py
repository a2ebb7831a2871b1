"""Count folds, and repair them where they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.space.jacobian import jacobian_determinant
from dinoreg.space.separable import apply_along_axes, box_matrix

# Voxels below this determinant are repaired, not only those at or below 0: the file is float32 and others
# may count folds with other differences.
_SAFE_DETERMINANT = 0.05
_ROUNDS_PER_REACH = 3
_LARGEST_REACH = 12


@dataclass(frozen=True, slots=True)
class FoldReport:
    """Folded voxels (determinant not positive) before and after the repair, and the largest change made."""

    before: int
    after: int
    voxels: int
    largest_change: float


def repair_folds(displacement: Tensor, *, max_fraction: float) -> tuple[Tensor, FoldReport]:
    """Smooth a displacement around its folds until at most `max_fraction` of the voxels are folded.

    Around each fold the displacement is blended into a smoothed copy of itself; where that is not enough the
    reach grows. Everything further away stays as it is.

    Args:
        displacement: (rank, *S) voxels.
        max_fraction: of the voxels; 0 for none at all.

    Returns:
        (rank, *S) and the report; `after` may exceed the limit where even the largest reach did not help.
    """
    shape = displacement.shape[1:]
    voxels = shape.numel()
    determinant = jacobian_determinant(displacement)
    before = count = int((determinant <= 0).sum())
    repaired = displacement
    for reach in range(1, _LARGEST_REACH + 1):
        if count <= max_fraction * voxels:
            break
        smoothing = [box_matrix(n, 3, 2 * reach, device=displacement.device) for n in shape]
        for _ in range(_ROUNDS_PER_REACH):
            if count <= max_fraction * voxels:
                break
            near = _near(determinant < _SAFE_DETERMINANT, reach)
            repaired = repaired + near * (apply_along_axes(repaired, smoothing) - repaired)
            determinant = jacobian_determinant(repaired)
            count = int((determinant <= 0).sum())
    change = float((repaired - displacement).abs().max()) if repaired is not displacement else 0.0
    return repaired, FoldReport(before, count, voxels, change)


def _near(bad: Tensor, reach: int) -> Tensor:
    """1 at `bad` voxels and `reach` around, falling to 0 over as much again, (1, *S)."""
    widen = [box_matrix(n, 2 * (2 * reach + 1) + 1, 1, device=bad.device) for n in bad.shape]
    soften = [box_matrix(n, 3, reach, device=bad.device) for n in bad.shape]
    grown = (apply_along_axes(bad.to(torch.float32)[None], widen) > 0).to(torch.float32)
    return apply_along_axes(grown, soften)
