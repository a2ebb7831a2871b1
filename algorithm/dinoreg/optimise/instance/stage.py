"""Instance optimisation: Adam on the displacement of one pair."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import INLINE
from dinoreg.optimise.adam import AdamTrace, refine_adam
from dinoreg.optimise.blocks.room import RoomFacts, find_room
from dinoreg.optimise.blocks.terms import lcc_by_blocks, ssd_by_blocks
from dinoreg.optimise.data_term import DataTerm
from dinoreg.optimise.instance.held_out import held_out_gain, worth_of_freedom
from dinoreg.optimise.intensities.agreement import AgreementFacts, weigh_intensities
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.runtime import free_memory
from dinoreg.settings.config import Adam
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, warp_weight
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult

# Enough to tell which of two weights of the regulariser is better.
_ITERATIONS_TO_ASK = 40


@dataclass(frozen=True, slots=True)
class AdamFacts:
    """What an optimisation did; see `optimise.adam.AdamTrace`.

    Attributes:
        regularity_weight: that was used.
        held_out_gain: by what share less smoothness lowered the data term on cells left out; None where that
            was not asked.
    """

    iterations: int
    losses: tuple[float, ...]
    regularity_weight: float
    held_out_gain: float | None = None
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
        before_renewal: iterations where rounds with renewed features follow; None where they never do.
    """

    settings: Adam
    lattice: Lattice
    masked: bool
    measured: bool
    before_renewal: int | None = None
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
        gain = self._held_out_gain(seen, start) if self._asks_for_gain(agreement) else None
        regularity = self._regularity(agreement, gain)
        weight = self._counted(seen, start.vectors) if self.masked else None
        term, room = self._term(seen, weight, start.vectors.device)
        iterations = settings.iterations
        if self.before_renewal is not None and gain is not None and worth_of_freedom(gain):
            iterations = self.before_renewal
        vectors, trace = self._fit(start, term, regularity, iterations)
        rounded = None if gain is None else round(gain, 4)
        facts = AdamFacts(trace.iterations, trace.losses, regularity, rounded, agreement, room)
        return StageResult(Deformation(vectors, self.lattice), facts)

    def _regularity(self, agreement: AgreementFacts | None, gain: float | None) -> float:
        """Between the two weights of the settings, even in the logarithm.

        The second one counts as far as the intensities are trusted and less smoothness pays.
        """
        weight, trusted = self.settings.regularity_weight, self.settings.trusted_regularity_weight
        if agreement is None or trusted is None or not weight * trusted:
            return weight
        share = min(1.0, agreement.intensity_trust) * (1.0 if gain is None else worth_of_freedom(gain))
        return float(weight ** (1 - share) * trusted**share)

    def _asks_for_gain(self, agreement: AgreementFacts | None) -> bool:
        """Whether anything depends on what less smoothness is worth."""
        trusted = agreement is not None and agreement.intensity_trust > 0
        by_trust = trusted and self.settings.trusted_regularity_weight is not None
        return self.settings.regularity_weight > 0 and (by_trust or self.before_renewal is not None)

    def _held_out_gain(self, seen: FeaturePair, start: Deformation) -> float:
        """Return what less smoothness gains, on cells twice as wide, where that takes a tenth of the time."""
        wide = replace(self, lattice=self.lattice.widened(2))
        begin, pair = start.on(wide.lattice), seen.on(wide.lattice)
        return held_out_gain(
            wide._counted(pair, begin.vectors) if self.masked else torch.ones_like(pair.fixed.weight),
            lambda counted: wide._term(pair, counted, counted.device)[0],
            lambda term, smoothness: wide._fit(begin, term, smoothness, _ITERATIONS_TO_ASK)[0],
            self.settings.regularity_weight,
        )

    def _fit(
        self, start: Deformation, term: DataTerm, regularity: float, iterations: int
    ) -> tuple[Tensor, AdamTrace]:
        settings = self.settings
        return refine_adam(
            SmoothedDense(start.vectors, width=settings.smoothing_width, repeats=settings.smoothing_repeats),
            term,
            regularity_weight=regularity,
            spacing_mm=self.lattice.spacing_mm,
            iterations=iterations,
            learning_rate=settings.learning_rate,
            stop_below=settings.stop_below,
            decay=settings.decay == "cosine",
            # Half the box: what is further away was for the start to find, and a wrong turn ends here.
            reach=[n / 2 for n in self.lattice.shape],
        )

    def _counted(self, seen: FeaturePair, start: Tensor) -> Tensor:
        return seen.fixed.weight * warp_weight(seen.moving, start)

    def _term(
        self, seen: FeaturePair, weight: Tensor | None, device: torch.device
    ) -> tuple[DataTerm, RoomFacts]:
        settings = self.settings
        largest = max(part.channels for part in seen.parts)
        room = find_room(
            settings.similarity, seen.channels, largest, self.lattice, device, free_memory(device)
        )
        block = room.channels_at_a_time
        if settings.similarity == "ssd":
            return ssd_by_blocks(seen, block, weight=weight), room
        keep = room.keeps_statistics
        return lcc_by_blocks(seen, block, window=settings.lcc_window, weight=weight, keep=keep), room
