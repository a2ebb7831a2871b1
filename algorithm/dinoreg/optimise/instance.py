"""Instance optimisation: Adam on the displacement of one pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import INLINE
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.blocks.room import RoomFacts, find_room
from dinoreg.optimise.blocks.terms import lcc_by_blocks, ssd_by_blocks
from dinoreg.optimise.data_term import DataTerm
from dinoreg.optimise.intensities.agreement import AgreementFacts, weigh_intensities
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.runtime import free_memory
from dinoreg.settings.config import Adam
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, warp_weight
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
    memory: RoomFacts | None = None


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
        """Optimise; see `Stage`.

        Raises:
            torch.OutOfMemoryError: not even one channel at a time fits into memory.
        """
        settings = self.settings
        seen, agreement = features.on(self.lattice, settings.weights), None
        if self.measured:
            seen, agreement = weigh_intensities(seen, start.vectors)
        regularity = self._regularity(agreement)
        term, room = self._term(seen, start.vectors)
        vectors, trace = refine_adam(
            SmoothedDense(start.vectors, width=settings.smoothing_width, repeats=settings.smoothing_repeats),
            term,
            regularity_weight=regularity,
            spacing_mm=self.lattice.spacing_mm,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            stop_below=settings.stop_below,
            decay=settings.decay == "cosine",
            # Half the box: what is further away was for the start to find, and a wrong turn ends here.
            reach=[n / 2 for n in self.lattice.shape],
        )
        facts = AdamFacts(trace.iterations, trace.losses, regularity, agreement, room)
        return StageResult(Deformation(vectors, self.lattice), facts)

    def _regularity(self, agreement: AgreementFacts | None) -> float:
        """Between the two weights of the settings by the trust in the intensities, even in the logarithm."""
        weight, trusted = self.settings.regularity_weight, self.settings.trusted_regularity_weight
        if agreement is None or trusted is None or not weight * trusted:
            return weight
        share = min(1.0, agreement.intensity_trust)
        return float(weight ** (1 - share) * trusted**share)

    def _term(self, seen: FeaturePair, start: Tensor) -> tuple[DataTerm, RoomFacts]:
        settings, device = self.settings, start.device
        largest = max(part.channels for part in seen.parts)
        weight = seen.fixed.weight * warp_weight(seen.moving, start) if self.masked else None
        room = find_room(
            settings.similarity, seen.channels, largest, self.lattice, device, free_memory(device)
        )
        block = room.channels_at_a_time
        if settings.similarity == "ssd":
            return ssd_by_blocks(seen, block, weight=weight), room
        keep = room.keeps_statistics
        return lcc_by_blocks(seen, block, window=settings.lcc_window, weight=weight, keep=keep), room
