"""One discrete stage: cost volume, coupled convex regularisation, inverse consistency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dinoreg.optimise.cost_volume import make_cost_volume
from dinoreg.optimise.coupled_convex import solve_coupled_convex
from dinoreg.space.compose import compose, symmetrise
from dinoreg.space.coords import identity_positions
from dinoreg.space.features import Features
from dinoreg.space.sampling import sample_linear


def warp_features(features: Features, displacement: Tensor) -> Features:
    """Read features at x + u(x); the weight is 0 where that lies outside the lattice.

    Args:
        features: to be read.
        displacement: (rank, *features.lattice.shape) cells.
    """
    positions = identity_positions(features.lattice.shape, device=displacement.device) + displacement
    return replace(
        features,
        values=sample_linear(features.values, positions),
        weight=warp_weight(features, displacement),
    )


def warp_weight(features: Features, displacement: Tensor) -> Tensor:
    """Return the weight of `warp_features` alone, (1, *S)."""
    positions = identity_positions(features.lattice.shape, device=displacement.device) + displacement
    sizes = torch.tensor(features.lattice.shape, device=displacement.device)
    upper = (sizes - 0.5).view(-1, *([1] * len(sizes)))
    inside = ((positions >= -0.5) & (positions <= upper)).all(dim=0, keepdim=True)
    return sample_linear(features.weight, positions) * inside


def search_convex(
    fixed: Features,
    moving: Features,
    start: Tensor,
    radius: Sequence[int],
    *,
    consistency_iterations: int,
    masked: bool = True,
) -> Tensor:
    """Search all displacements within `radius` of a start, regularised (Siebert et al. 2021, section 2).

    The moving features are read at the start first, so that the search is centred on it; the result is the
    composition of both.

    Args:
        fixed: features on a lattice.
        moving: features on the same lattice.
        start: (rank, *S) cells.
        radius: cells per axis.
        consistency_iterations: of the inverse consistency; 0 skips the backward search.
        masked: whether cells without foreground are neutral.

    Returns:
        (rank, *S) cells.
    """
    moved = warp_features(moving, start) if bool(start.any()) else moving
    spacing_mm = fixed.lattice.spacing_mm

    def search(a: Features, b: Features) -> Tensor:
        weights = (a.weight, b.weight) if masked else (None, None)
        volume = make_cost_volume(
            a.values, b.values, radius, fixed_weight=weights[0], moving_weight=weights[1]
        )
        return solve_coupled_convex(volume, spacing_mm=spacing_mm)

    found = search(fixed, moved)
    if consistency_iterations:
        found, _ = symmetrise(found, search(moved, fixed), iterations=consistency_iterations)
    return compose(found, start)
