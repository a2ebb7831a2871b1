"""Dense cost volume: the feature distance of every voxel to every candidate displacement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
_LEAST_CONTENT = 1e-6  # cells; where no cell has content on both sides nothing is known: all costs are 0


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
    contents: tuple[Tensor, Tensor] | None = None
    if fixed_weight is not None or moving_weight is not None:
        here = torch.ones_like(fixed[0]) if fixed_weight is None else fixed_weight[0]
        there = torch.ones_like(padded[0])
        if moving_weight is not None:
            there = F.pad(moving_weight.unsqueeze(0), padding, mode="constant", value=0.0)[0, 0]
        contents = here, there
    counts = [2 * r + 1 for r in radius]
    per_axis = torch.empty(*counts, *shape, dtype=fixed.dtype, device=fixed.device)
    costs = per_axis.flatten(0, len(counts) - 1)
    if on_cpu(fixed, padded):
        _fill_on_cpu(per_axis, fixed, padded, contents)
    else:
        _fill(costs, fixed, padded, contents, counts)
    smoothing = [box_matrix(n, 3, 2, border=border, device=fixed.device) for n in shape]
    for chunk in torch.split(costs, max(1, _CHUNK_VALUES // shape.numel())):
        chunk.copy_(apply_along_axes(chunk, smoothing))
    return CostVolume(costs, tuple(radius))


def _fill(
    costs: Tensor,
    fixed: Tensor,
    padded: Tensor,
    contents: tuple[Tensor, Tensor] | None,
    counts: Sequence[int],
) -> None:
    """Write the costs, (K, *S), before they are smoothed; `contents` are the weights of fixed and padded."""
    windows = [
        tuple(slice(o, o + n) for o, n in zip(offset, fixed.shape[1:], strict=True))
        for offset in itertools.product(*map(range, counts))
    ]
    for cost, window in zip(costs, windows, strict=True):
        torch.sum((fixed - padded[(slice(None), *window)]).square_(), dim=0, out=cost)
    if contents is None:
        return
    here, there = contents
    total = content = torch.zeros((), dtype=torch.float64, device=fixed.device)
    for cost, window in zip(costs, windows, strict=True):
        weight = here * there[window]
        total = total + (cost * weight).sum(dtype=torch.float64)
        content = content + weight.sum(dtype=torch.float64)
    neutral = (total / content.clamp(min=_LEAST_CONTENT)).to(costs.dtype)
    for cost, window in zip(costs, windows, strict=True):
        # The weights are made anew: those of all candidates would be as large as the costs.
        cost.sub_(neutral).mul_(here * there[window]).add_(neutral)


def _fill_on_cpu(
    costs: Tensor, fixed: Tensor, padded: Tensor, contents: tuple[Tensor, Tensor] | None
) -> None:
    """As `_fill`, of three axes and costs (*counts, *S)."""
    values = costs.numpy()
    follow_torch_threads()
    _kernels.squared_distances(fixed.contiguous().numpy(), padded.numpy(), values)
    if contents is None:
        return
    here, there = (content.to(costs.dtype).contiguous().numpy() for content in contents)
    sums = np.empty((math.prod(costs.shape[:3]), 2))
    _kernels.known_costs(values, here, there, sums)
    total, content = sums.sum(axis=0)
    _kernels.fill_unknown(values, here, there, np.float32(total / max(content, _LEAST_CONTENT)))
