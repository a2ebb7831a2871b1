"""Dense cost volume: the feature distance of every voxel to every candidate displacement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.kernels import candidates as _kernels
from dinoreg.space.kernels.choice import on_cpu
from dinoreg.space.kernels.threads import follow_torch_threads
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

    def axis_candidates(self, axis: int) -> Float[Tensor, "n"]:
        """Return the candidate displacements along one axis, (2 radius + 1,)."""
        r = self.radius[axis]
        return torch.arange(-r, r + 1, dtype=self.costs.dtype, device=self.costs.device)


def make_cost_volume(
    fixed: Float[Tensor, "c *s"],
    moving: Float[Tensor, "c *s"],
    radius: Sequence[int],
    *,
    fixed_weight: Float[Tensor, "1 *s"] | None = None,
    moving_weight: Float[Tensor, "1 *s"] | None = None,
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

    windows = [
        tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))
        for offset in itertools.product(*(range(2 * r + 1) for r in radius))
    ]

    def weight_of(window: tuple[slice, ...]) -> Tensor:
        """1 where both sides have content; made anew when needed, as large as the costs otherwise."""
        here = torch.ones(shape, device=fixed.device) if fixed_weight is None else fixed_weight[0]
        return here if weight_padded is None else here * weight_padded[window]

    costs = torch.empty(len(windows), *shape, dtype=fixed.dtype, device=fixed.device)
    if on_cpu(fixed, padded):
        counts = [2 * r + 1 for r in radius]
        follow_torch_threads()
        _kernels.squared_distances(
            fixed.contiguous().numpy(), padded.numpy(), costs.numpy().reshape(*counts, *shape)
        )
    else:
        for cost, window in zip(costs, windows, strict=True):
            torch.sum((fixed - padded[(slice(None), *window)]).square_(), dim=0, out=cost)
    if fixed_weight is not None or weight_padded is not None:
        total = content = torch.zeros((), dtype=torch.float64, device=fixed.device)
        for cost, window in zip(costs, windows, strict=True):
            weight = weight_of(window)
            total = total + (cost * weight).sum(dtype=torch.float64)
            content = content + weight.sum(dtype=torch.float64)
        neutral = (total / content.clamp(min=1e-6)).to(costs.dtype)
        for cost, window in zip(costs, windows, strict=True):
            cost.sub_(neutral).mul_(weight_of(window)).add_(neutral)
    smoothing = [box_matrix(n, 3, 2, border=border, device=fixed.device) for n in shape]
    for chunk in torch.split(costs, max(1, _CHUNK_VALUES // shape.numel())):
        chunk.copy_(apply_along_axes(chunk, smoothing))
    return CostVolume(costs, tuple(radius))
