"""Positions on a lattice, and the one conversion to torch's sampling coordinates.

Convention of the whole library: arrays are (C, I, J, K) in NIfTI index order, a displacement is
(rank, I, J, K) with component a along array axis a, in voxels, pull (fixed to moving), identity not
included, and `align_corners=False`. `grid_sample` reads the last array axis first; the reversal happens
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def identity_positions(shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
    """Return the voxel positions of a lattice.

    Returns:
        (rank, *shape) float32; entry [a, i, j, k] is the index along axis a.
    """
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def to_sampling_grid(positions: Tensor, shape: Sequence[int]) -> Tensor:
    """Turn voxel positions into the normalised, reversed coordinates of `grid_sample`.

    Convention: `align_corners=False`, normalised = (2 v + 1) / n - 1.

    Args:
        positions: (rank, *T) voxels of the lattice that is sampled.
        shape: sizes (I, J, K) of that lattice.

    Returns:
        (1, *T, rank), last array axis first.
    """
    sizes = torch.tensor(shape, dtype=positions.dtype, device=positions.device)
    sizes = sizes.view(-1, *([1] * (positions.ndim - 1)))
    normalised = (2 * positions + 1) / sizes - 1
    return normalised.flip(0).movedim(0, -1).unsqueeze(0)
