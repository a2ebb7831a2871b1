"""Features of one image on a lattice, with the weight that says where there is content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dinoreg.space.lattice import Lattice, pool
from dinoreg.space.sampling import channels_last

# Squared distance of the MIND-SSC features of two unrelated places, 12 channels in [0, 1], averaged over the
# development scans. Everything that is weighed against a feature distance (coupling, regularity) is stated
# for this scale; other encoders are brought to it.
REFERENCE_ENERGY = 2.0
_RELATIVE_ROUNDING = 1e-10
_TINY = torch.finfo(torch.float64).tiny
_CELLS_AT_A_TIME = 1 << 17


@dataclass(frozen=True, slots=True)
class Features:
    """Features on a lattice.

    Attributes:
        values: (C, *lattice.shape) float32.
        weight: (1, *lattice.shape) in [0, 1], the share of each cell that is foreground.
        lattice: where they are.
    """

    values: Tensor
    weight: Tensor
    lattice: Lattice

    @property
    def nbytes(self) -> int:
        """Memory that they hold."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.weight))

    def on(self, lattice: Lattice) -> Features:
        """Average to a coarser lattice whose strides are multiples of this one's."""
        factors = []
        for coarse, fine in zip(lattice.stride, self.lattice.stride, strict=True):
            if coarse % fine:
                raise ValueError(f"stride {lattice.stride} is no multiple of {self.lattice.stride}")
            factors.append(coarse // fine)
        return Features(pool(self.values, factors), pool(self.weight, factors), lattice)

    def block(self, bounds: Sequence[tuple[int, int]]) -> Features:
        """Cut out a block of the image, given by voxels that lie on cell borders (or on the image's edge)."""
        shape = tuple(stop - start for start, stop in bounds)
        lattice = replace(self.lattice, image_shape=shape)
        window = tuple(
            slice(start // s, start // s + n)
            for (start, _), s, n in zip(bounds, lattice.stride, lattice.shape, strict=True)
        )
        # A copy of its own, unless the block is everything: the whole can be freed then.
        values, weight = (channels_last(t[(slice(None), *window)]) for t in (self.values, self.weight))
        return Features(values, weight, lattice)


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
