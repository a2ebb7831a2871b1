"""Regularity terms of a displacement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def diffusion(displacement: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Return the mean squared gradient, summed over the axes: sum_a mean |du / dx_a|^2, dimensionless.

    Displacement and step are both taken in millimetres, so that the value does not depend on the lattice's
    anisotropy; on an isotropic lattice it equals the forward differences in cells.

    Args:
        displacement: (rank, *S) cells.
        spacing_mm: size of a cell.
    """
    spacing = torch.tensor(tuple(spacing_mm), dtype=displacement.dtype, device=displacement.device)
    millimetres = displacement * spacing.view(-1, *([1] * (displacement.ndim - 1)))
    total = displacement.new_zeros(())
    for axis, step in enumerate(spacing_mm, start=1):
        if displacement.shape[axis] > 1:
            total = total + (torch.diff(millimetres, dim=axis) / step).square().mean()
    return total
