"""Dense cost volume: the feature distance of every voxel to every candidate displacement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.space.separable import Border, apply_along_axes, box_matrix

# Costs that are smoothed at a time, so that the temporaries stay far smaller than the volume.
_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True, slots=True)
class CostVolume:
    """Costs of integer candidate displacements.

    Attributes:
        costs: (K, *S), K the number of candidates.
        radius: largest candidate per axis, in cells; candidates run over the full box, last axis fastest.
    """

    costs: Tensor
    radius: tuple[int, ...]

    def axis_candidates(self, axis: int) -> Tensor:
        """Return the candidate displacements along one axis, (2 radius + 1,)."""
        r = self.radius[axis]
        return torch.arange(-r, r + 1, dtype=self.costs.dtype, device=self.costs.device)


def make_cost_volume(
    fixed: Tensor,
    moving: Tensor,
    radius: Sequence[int],
    *,
    fixed_weight: Tensor | None = None,
    moving_weight: Tensor | None = None,
    border: Border = "replicate",
) -> CostVolume:
    """Return the smoothed squared feature distances (Heinrich et al. 2014; Siebert et al. 2021, section 2).

    cost[k, x] = sum_c (fixed[c, x] - moving[c, x + k])^2, then two box filters of 3 cells. Positions outside
    `moving` read its border. Where a weight says that one side has no content, the distance says nothing:
    it is replaced by the mean distance over everything that has content on both sides, so that such cells
    neither attract nor repel and follow their neighbours.

    Args:
        fixed: (C, *S) features.
        moving: (C, *S) features on the same lattice.
        radius: largest candidate per axis, cells.
        fixed_weight: (1, *S) in [0, 1], 0 where `fixed` has no content.
        moving_weight: (1, *S) likewise for `moving`.
        border: what lies outside `moving` and outside the costs when they are smoothed.
    """
    shape = fixed.shape[1:]
    padding = [r for radius_a in reversed(tuple(radius)) for r in (radius_a, radius_a)]
    mode = "replicate" if border == "replicate" else "constant"
    padded = F.pad(moving.unsqueeze(0), padding, mode=mode).squeeze(0)
    weight_padded = None
    if moving_weight is not None:
        weight_padded = F.pad(moving_weight.unsqueeze(0), padding, mode="constant", value=0.0)[0, 0]

    offsets = list(itertools.product(*(range(2 * r + 1) for r in radius)))
    costs = torch.empty(len(offsets), *shape, dtype=fixed.dtype, device=fixed.device)
    weights = None
    if fixed_weight is not None or weight_padded is not None:
        weights = torch.ones_like(costs) if fixed_weight is None else fixed_weight.expand_as(costs).clone()
    for k, offset in enumerate(offsets):
        window = tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))
        difference = fixed - padded[(slice(None), *window)]
        torch.sum(difference.square_(), dim=0, out=costs[k])
        if weights is not None and weight_padded is not None:
            weights[k] *= weight_padded[window]
    if weights is not None:
        neutral = (costs * weights).sum(dtype=torch.float64) / weights.sum(dtype=torch.float64).clamp(
            min=1e-6
        )
        costs = costs.sub_(neutral.to(costs.dtype)).mul_(weights).add_(neutral.to(costs.dtype))
    smoothing = [box_matrix(n, 3, 2, border=border, device=fixed.device) for n in shape]
    for chunk in torch.split(costs, max(1, _CHUNK_VALUES // shape.numel())):
        chunk.copy_(apply_along_axes(chunk, smoothing))
    return CostVolume(costs, tuple(radius))
