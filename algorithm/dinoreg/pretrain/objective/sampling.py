"""Features at points of the views."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.dino3d.network import STRIDE
from dinoreg.space.coords import to_sampling_grid


def stride_of(image: Tensor, features: Tensor) -> int:
    """Return how many voxels of an image (..., I, J, K) its features (C, i, j, k) have per cell."""
    return image.shape[-1] // features.shape[-1]


def features_at(features: Tensor, points: Tensor, stride: int = STRIDE) -> Tensor:
    """Read the features of one view at points, linearly; differentiable in the features.

    Args:
        features: (C, s, s, s).
        points: (N, 3) voxels of the view.
        stride: voxels of the view per cell of the features.

    Returns:
        (N, C).
    """
    cells = (points.T + 0.5) / stride - 0.5  # the centre of a cell lies between voxels
    grid = to_sampling_grid(cells.to(features), features.shape[1:]).view(1, 1, 1, -1, 3)
    sampled = F.grid_sample(features.unsqueeze(0), grid, padding_mode="border", align_corners=False)
    return sampled.view(features.shape[0], -1).T
