"""Start from the centres of the two foregrounds."""

from __future__ import annotations

import torch
from torch import Tensor

from dinoreg.space.coords import identity_positions
from dinoreg.space.features import Features


def match_centres(fixed: Features, moving: Features) -> Tensor:
    """Return the translation that brings the centres of mass of the two foregrounds together.

    Returns:
        (rank,) cells of the features' lattice, fixed to moving.
    """
    return _centre(moving.weight) - _centre(fixed.weight)


def _centre(weight: Tensor) -> Tensor:
    positions = identity_positions(weight.shape[1:], device=weight.device).flatten(1).double()
    share = weight.flatten().double()
    total = share.sum()
    if not float(total) > 0:
        share, total = torch.ones_like(share), torch.tensor(float(share.numel()), dtype=torch.float64)
    return (positions @ share / total).to(weight.dtype)
