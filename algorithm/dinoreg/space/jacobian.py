"""Jacobian determinants of displacements."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.kernels.choice import field_kernels

# Rows along the first axis that are done at a time: the nine derivatives of a whole field would be nine
# volumes of memory.
_SLAB_VOXELS = 1 << 18


def jacobian_determinant(displacement: Float[Tensor, "rank *s"]) -> Float[Tensor, "*s"]:
    """Return det(I + grad u) by central differences (one-sided at the border), voxel units.

    Args:
        displacement: (rank, *S) voxels.

    Returns:
        (*S); 1 for a translation. An axis of size 1 counts as having no gradient.
    """
    if not displacement.requires_grad and (kernels := field_kernels(displacement)) is not None:
        found: Tensor = kernels.determinant(displacement)
        return found
    shape = displacement.shape[1:]
    rows = max(1, _SLAB_VOXELS // max(1, shape[1:].numel()))
    determinant = displacement.new_empty(shape)
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        low, high = max(0, start - 1), min(shape[0], stop + 1)
        determinant[start:stop] = _determinant(displacement[:, low:high])[start - low : stop - low]
    return determinant


def _determinant(displacement: Tensor) -> Tensor:
    rank = displacement.shape[0]
    columns = []  # column a: derivative of every component along axis a
    for axis in range(rank):
        if displacement.shape[axis + 1] == 1:
            columns.append(torch.zeros_like(displacement))
        else:
            columns.append(torch.gradient(displacement, dim=axis + 1)[0].contiguous())
        columns[-1][axis] += 1
    if rank == 2:
        return columns[0][0] * columns[1][1] - columns[1][0] * columns[0][1]
    determinant: Tensor = (torch.linalg.cross(columns[0], columns[1], dim=0) * columns[2]).sum(dim=0)
    return determinant
