"""Start from the centres of the two foregrounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.settings.config import CentresStart
from dinoreg.space.coords import identity_positions
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features, warp_features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult
from dinoreg.start.translate import TranslationFacts, in_mm, translated


@dataclass(frozen=True, slots=True)
class CentresStage:
    """Brings the centres of mass of the foregrounds together."""

    settings: CentresStart
    lattice: Lattice
    name: ClassVar[str] = "start: centres"
    safe: ClassVar[bool] = True

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Translate; see `Stage`."""
        seen = features.on(self.lattice)
        shift = match_centres(seen.fixed, warp_features(seen.moving, start.vectors))
        return StageResult(translated(start, shift), TranslationFacts(in_mm(shift, self.lattice)))


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
