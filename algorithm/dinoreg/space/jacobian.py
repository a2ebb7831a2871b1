"""Jacobian determinants of displacements, and folds."""

from __future__ import annotations

import torch
from torch import Tensor


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """Return det(I + grad u) by central differences (one-sided at the border), voxel units.

    Args:
        displacement: (rank, *S) voxels.

    Returns:
        (*S); 1 for a translation. An axis of size 1 is taken as having no gradient.
    """
    rank, shape = displacement.shape[0], displacement.shape[1:]
    columns = []
    for axis in range(rank):
        if shape[axis] == 1:
            columns.append(torch.zeros_like(displacement))
        else:
            columns.append(torch.gradient(displacement, dim=axis + 1)[0])
    jacobian = torch.stack(columns, dim=1)  # (component, axis, *S)
    for a in range(rank):
        jacobian[a, a] += 1
    if rank == 2:
        return jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0]
    return (
        jacobian[0, 0] * (jacobian[1, 1] * jacobian[2, 2] - jacobian[1, 2] * jacobian[2, 1])
        - jacobian[0, 1] * (jacobian[1, 0] * jacobian[2, 2] - jacobian[1, 2] * jacobian[2, 0])
        + jacobian[0, 2] * (jacobian[1, 0] * jacobian[2, 1] - jacobian[1, 1] * jacobian[2, 0])
    )


def folding_fraction(displacement: Tensor) -> float:
    """Return the share of voxels whose Jacobian determinant is not positive."""
    determinant = jacobian_determinant(displacement)
    return float((determinant <= 0).double().mean())
