"""What an encoder saw of a pair, small enough to be kept, drawn and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.pca import PcaBasis
from dinoreg.space.features import Features

# A slice with less foreground than this share of the fullest one says too little.
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class SliceCodes:
    """How much the slices of two volumes differ.

    Attributes:
        distances: (n, m).
        fixed_at: (n,) ascending positions of the slices of fixed along their axis, voxels.
        moving_at: (m,) likewise.
        fixed_valid: (n,) bool, slices that take part.
        moving_valid: (m,) bool.
    """

    distances: Tensor
    fixed_at: Tensor
    moving_at: Tensor
    fixed_valid: Tensor
    moving_valid: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What an encoder with a PCA saw of a pair.

    Attributes:
        colours: the first three principal components of fixed and of moving, each (3, *S) float32 on the
            plan's finest lattice, background 0.
        weights: (*S) float32 in [0, 1], the share of each cell that is foreground, for both.
        basis: of the PCA.
        codes: distances of the encoded slices by their cls tokens, per array axis across them.
    """

    colours: tuple[NDArray[np.float32], NDArray[np.float32]]
    weights: tuple[NDArray[np.float32], NDArray[np.float32]]
    basis: PcaBasis
    codes: Mapping[int, SliceCodes] = field(default_factory=dict)

    def exchanged(self) -> Evidence:
        """Return it with fixed and moving in each other's place, without the codes."""
        return Evidence(self.colours[::-1], self.weights[::-1], self.basis)


def keep_evidence(
    fixed: Features, moving: Features, basis: PcaBasis, codes: Mapping[int, SliceCodes] | None = None
) -> Evidence:
    """Keep three channels of both images on the CPU; where there are fewer, zeros fill up."""

    def colours(features: Features) -> NDArray[np.float32]:
        three = features.values[:3].cpu().numpy()
        return np.concatenate([three, np.zeros((3 - len(three), *three.shape[1:]), np.float32)])

    def weight(features: Features) -> NDArray[np.float32]:
        array: NDArray[np.float32] = features.weight[0].cpu().numpy()
        return array

    return Evidence(
        (colours(fixed), colours(moving)), (weight(fixed), weight(moving)), basis, dict(codes or {})
    )


def enough_foreground(amount: Tensor) -> Tensor:
    """Tell which slices have at least 5 % of the foreground of the fullest one, (n,) -> (n,) bool."""
    return amount >= _LEAST_SHARE * amount.max()
