"""The scale of features: every encoder is brought to the one that all weights are stated for."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from dinoreg.space.features import Features

# Squared distance of the MIND-SSC features of two unrelated places, 12 channels in [0, 1], averaged over the
# development scans. Everything that is weighed against a feature distance (coupling, regularity) is stated
# for this scale; other encoders are brought to it.
REFERENCE_ENERGY = 2.0
_RELATIVE_ROUNDING = 1e-10
_TINY = torch.finfo(torch.float64).tiny
_CELLS_AT_A_TIME = 1 << 17


def scale_pair(fixed: Features, moving: Features) -> tuple[Features, Features]:
    """Scale both feature volumes by one factor so that unrelated places differ by `REFERENCE_ENERGY`.

    The expected squared distance of a random foreground cell of `fixed` and one of `moving` is the sum over
    the channels of both variances and the squared difference of the means. The later stages become
    independent of the magnitude of an encoder's features.
    """
    fixed_mean, fixed_variance = _moments(fixed)
    moving_mean, moving_variance = _moments(moving)
    energy = (fixed_variance + moving_variance + (fixed_mean - moving_mean).square()).sum()
    magnitude = fixed_mean.square().sum() + moving_mean.square().sum()
    if not float(energy) > _RELATIVE_ROUNDING * float(magnitude):  # constant features: nothing to scale
        return fixed, moving
    factor = (REFERENCE_ENERGY / energy).sqrt().to(fixed.values.dtype)
    return replace(fixed, values=fixed.values * factor), replace(moving, values=moving.values * factor)


def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance per channel, float64 (C,); a slab of cells at a time."""
    rows = max(1, _CELLS_AT_A_TIME // math.prod(features.lattice.shape[1:]))
    slabs = [
        (values.flatten(1), weight.flatten().double())
        for values, weight in zip(
            torch.split(features.values, rows, dim=1), torch.split(features.weight, rows, dim=1), strict=True
        )
    ]
    total = torch.stack([weight.sum() for _, weight in slabs]).sum().clamp(min=_TINY)
    mean = torch.stack([values.double() @ weight for values, weight in slabs]).sum(dim=0) / total
    variance = torch.stack(
        [(values.double() - mean.unsqueeze(1)).square() @ weight for values, weight in slabs]
    ).sum(dim=0)
    return mean, variance / total


def measured_energy(raw: Features, scaled: Features) -> float:
    """Return the squared distance of unrelated places before the scaling; 0 where nothing can be compared."""
    norm = float(scaled.values.norm())
    return REFERENCE_ENERGY * (float(raw.values.norm()) / norm) ** 2 if norm > 0 else 0.0
