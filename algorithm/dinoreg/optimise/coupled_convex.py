"""Coupled convex regularisation of a cost volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.optimise.cost_volume import CostVolume
from dinoreg.space.kernels import candidates as _kernels
from dinoreg.space.kernels.choice import on_cpu
from dinoreg.space.kernels.threads import follow_torch_threads
from dinoreg.space.separable import Border, apply_along_axes, box_matrix

# Weight of the coupling in turn, for features whose squared distance is that of 12 channels in [0, 1]
# (Siebert et al. 2021, ConvexAdam).
COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def solve_coupled_convex(
    volume: CostVolume,
    *,
    spacing_mm: Sequence[float],
    coupling: Sequence[float] = COUPLING,
    border: Border = "replicate",
) -> Float[Tensor, "rank *s"]:
    """Alternate between the cheapest candidate near a smooth field and the smoothing of that choice.

    u <- smooth(argmin_k cost_k + c |k - u|^2) for c in `coupling`, starting from the plain argmin. Distances
    between candidates are measured in cells of the mean spacing, so that an anisotropic lattice is treated
    as its millimetres say.

    Returns:
        (rank, *S) displacement in cells.
    """
    shape = volume.costs.shape[1:]
    rank = len(volume.radius)
    smoothing = [box_matrix(n, 3, 1, border=border, device=volume.costs.device) for n in shape]
    mean_spacing = sum(spacing_mm) / rank
    metric = [(s / mean_spacing) ** 2 for s in spacing_mm]
    displacement = apply_along_axes(_best_candidates(volume, None, 0.0, metric), smoothing)
    for weight in coupling:
        displacement = apply_along_axes(_best_candidates(volume, displacement, weight, metric), smoothing)
    return displacement


def _best_candidates(
    volume: CostVolume, near: Float[Tensor, "rank *s"] | None, weight: float, metric: Sequence[float]
) -> Float[Tensor, "rank *s"]:
    """argmin_k cost_k + weight |k - near|^2 per voxel, (rank, *S)."""
    rank, shape = len(volume.radius), volume.costs.shape[1:]
    counts = [2 * r + 1 for r in volume.radius]
    costs = volume.costs.reshape(*counts, shape.numel())
    weights = [weight * along for along in metric]
    if on_cpu(volume.costs):
        return _cheapest_on_cpu(costs, near, weights).reshape(rank, *shape)
    penalties: list[Tensor] = []
    if near is not None:
        flat = near.reshape(rank, -1)
        penalties = [
            weights[a] * (volume.axis_candidates(a).unsqueeze(1) - flat[a]).square() for a in range(rank)
        ]
    best = _cheapest(costs, penalties)
    components: list[Tensor] = []
    for axis in reversed(range(rank)):
        components.append((best % counts[axis] - volume.radius[axis]).to(costs.dtype))
        best = best // counts[axis]
    return torch.stack(components[::-1]).reshape(rank, *shape)


def _cheapest(costs: Tensor, penalties: Sequence[Tensor]) -> Tensor:
    """The first argmin over the candidates, (X,), of (*counts, X); one slice of candidates at a time."""
    slices = costs.flatten(1, -2)
    best_cost = torch.full(costs.shape[-1:], float("inf"), dtype=costs.dtype, device=costs.device)
    best = torch.zeros(costs.shape[-1:], dtype=torch.long, device=costs.device)
    inner: Tensor | None = None
    if penalties:
        inner = penalties[1]
        if len(penalties) == 3:
            inner = (penalties[1].unsqueeze(1) + penalties[2]).flatten(0, 1)
    for first, candidate_costs in enumerate(slices):
        if inner is not None:
            candidate_costs = candidate_costs + inner + penalties[0][first]
        cost, index = candidate_costs.min(dim=0)
        better = cost < best_cost
        best_cost = torch.where(better, cost, best_cost)
        best = torch.where(better, index + first * slices.shape[1], best)
    return best


def _cheapest_on_cpu(costs: Tensor, near: Tensor | None, weights: Sequence[float]) -> Tensor:
    """The candidates themselves, (3, X), of costs (*counts, X) of three axes that are numbers."""
    best = costs.new_empty(3, costs.shape[-1])
    around = costs.new_zeros(best.shape) if near is None else near.reshape(3, -1)
    follow_torch_threads()
    _kernels.cheapest(costs.numpy(), around.contiguous().numpy(), np.array(weights, np.float32), best.numpy())
    return best
