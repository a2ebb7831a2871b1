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
# Cells around the folds that a repair changes or reads, per cell of reach: 2 of widening, 1 of softening and
# 2 of smoothing.
_SUPPORT = 5


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
        for _ in range(_ROUNDS_PER_REACH):
            if count <= max_fraction * voxels:
                break
            box = _around(determinant < _SAFE_DETERMINANT, _SUPPORT * reach + 1)
            part = repaired[(slice(None), *box)]
            near = _near(determinant[box] < _SAFE_DETERMINANT, reach)
            smoothing = [box_matrix(n, 3, 2 * reach, device=part.device) for n in part.shape[1:]]
            if repaired is displacement:
                repaired = displacement.clone()
            repaired[(slice(None), *box)] = part + near * (apply_along_axes(part, smoothing) - part)
            determinant = jacobian_determinant(repaired)
            count = int((determinant <= 0).sum())
    change = float((repaired - displacement).abs().max()) if repaired is not displacement else 0.0
    return repaired, FoldReport(before, count, voxels, change)


def _around(bad: Tensor, margin: int) -> tuple[slice, ...]:
    """The smallest box around what is `bad`, with a margin."""
    box = []
    for axis, n in enumerate(bad.shape):
        others = tuple(a for a in range(bad.ndim) if a != axis)
        there = bad.any(dim=others).nonzero() if others else bad.nonzero()
        box.append(slice(max(0, int(there.min()) - margin), min(n, int(there.max()) + margin + 1)))
    return tuple(box)


def _near(bad: Tensor, reach: int) -> Tensor:
    """1 at `bad` voxels and `reach` around, falling to 0 over as much again, (1, *S)."""
    widen = [box_matrix(n, 2 * (2 * reach + 1) + 1, 1, device=bad.device) for n in bad.shape]
    soften = [box_matrix(n, 3, reach, device=bad.device) for n in bad.shape]
    grown = (apply_along_axes(bad.to(torch.float32)[None], widen) > 0).to(torch.float32)
    return apply_along_axes(grown, soften)
