"""Instance optimisation: Adam on the displacement of one pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import INLINE
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.agreement import AgreementFacts, weigh_intensities
from dinoreg.optimise.data_term import DataTerm, ssd_term, warp_and_compare
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.similarity import Similarity, lcc
from dinoreg.settings.config import Adam
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Part, warp_weight
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult


@dataclass(frozen=True, slots=True)
class AdamFacts:
    """What an optimisation did; see `optimise.adam.AdamTrace`."""

    iterations: int
    losses: tuple[float, ...]
    regularity_weight: float
    agreement: AgreementFacts | None = field(default=None, metadata=INLINE)


@dataclass(frozen=True, slots=True)
class InstanceOptimisation:
    """Adam on one vector per cell, smoothed.

    Attributes:
        settings: of the stage.
        lattice: of the stage.
        masked: whether cells without foreground do not count.
        measured: whether the weight of the intensities follows from what the images show.
    """

    settings: Adam
    lattice: Lattice
    masked: bool
    measured: bool
    name: ClassVar[str] = "adam"
    safe: ClassVar[bool] = False

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Optimise; see `Stage`."""
        settings = self.settings
        seen, agreement = features.on(self.lattice, settings.weights), None
        if self.measured:
            seen, agreement = weigh_intensities(seen, start.vectors)
        regularity = self._regularity(agreement)
        vectors, trace = refine_adam(
            SmoothedDense(start.vectors, width=settings.smoothing_width, repeats=settings.smoothing_repeats),
            self._term(seen, start.vectors),
            regularity_weight=regularity,
            spacing_mm=self.lattice.spacing_mm,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            stop_below=settings.stop_below,
            decay=settings.decay == "cosine",
            # Half the box: what is further away was for the start to find, and a wrong turn ends here.
            reach=[n / 2 for n in self.lattice.shape],
        )
        facts = AdamFacts(trace.iterations, trace.losses, regularity, agreement)
        return StageResult(Deformation(vectors, self.lattice), facts)

    def _regularity(self, agreement: AgreementFacts | None) -> float:
        """Between the two weights of the settings by the trust in the intensities, even in the logarithm."""
        weight, trusted = self.settings.regularity_weight, self.settings.trusted_regularity_weight
        if agreement is None or trusted is None or not weight * trusted:
            return weight
        share = min(1.0, agreement.intensity_trust)
        return float(weight ** (1 - share) * trusted**share)

    def _term(self, seen: FeaturePair, start: Tensor) -> DataTerm:
        fixed, moving = seen.fixed, seen.moving
        weight = fixed.weight * warp_weight(moving, start) if self.masked else None
        if self.settings.similarity == "ssd":
            return ssd_term(fixed.values, moving.values, weight=weight)
        similarity = _lcc_of_parts(fixed.values, seen.parts, self.settings.lcc_window)
        return warp_and_compare(similarity, moving.values, weight=weight)


def _lcc_of_parts(fixed: Tensor, parts: Sequence[Part], window: int) -> Similarity:
    """Weighted mean of the parts' local correlations, which do not see the scale that a part was given."""
    counts = [part.channels for part in parts]
    terms = [lcc(channels, window=window) for channels in torch.split(fixed, counts)]

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        each = zip(parts, terms, torch.split(warped, counts), strict=True)
        return torch.stack([part.share * term(channels, weight) for part, term, channels in each]).sum()

    return distance
