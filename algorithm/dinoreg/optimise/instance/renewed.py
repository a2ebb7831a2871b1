"""Further rounds of an instance optimisation, with moving encoded anew where it was brought.

Features are computed on moving as it lies: where a displacement turns or stretches it, they no longer are
what an encoder would see there, and their averages over cells blur where they are read between cells. Both
go away when the image is brought along first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dinoreg.encoders.pair import PairFeatures
from dinoreg.optimise.instance.held_out import worth_of_freedom
from dinoreg.optimise.instance.stage import AdamFacts, InstanceOptimisation
from dinoreg.settings.config import Adam, Renewed
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult

# Longest by shortest side of a voxel, up to which rounds are taken in full, and from which on there are none:
# between thick slices an image is made up, and more so where it is read once more.
_SHORT, _LONG = 2.0, 4.0


def share_by_voxels(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Return how much of what renewed features add is to be taken for the voxels' sake, 0 to 1.

    Args:
        shape: of the image; an axis of one voxel does not count.
        spacing_mm: as it is stored.
    """
    sides = [mm for n, mm in zip(shape, spacing_mm, strict=True) if n > 1] or [1.0]
    return min(1.0, max(0.0, (_LONG - max(sides) / min(sides)) / (_LONG - _SHORT)))


@dataclass(frozen=True, slots=True)
class RenewedFacts:
    """What was done.

    Attributes:
        share: of what each round found, that was taken.
        rounds: what each did.
    """

    share: float
    rounds: tuple[AdamFacts, ...]


@dataclass(frozen=True, slots=True)
class RenewedOptimisation:
    """Rounds of Adam, each on what the ones before left.

    Attributes:
        settings: of the rounds.
        adam: settings of the stage that they go on from.
        lattice: of that stage.
        masked: whether cells without foreground do not count.
        measured: whether the weight of the intensities follows from what the images show.
        regularity_weight: of what a round adds.
        share: of it that is taken.
    """

    settings: Renewed
    adam: Adam
    lattice: Lattice
    masked: bool
    measured: bool
    regularity_weight: float
    share: float
    name: ClassVar[str] = "renewed"
    safe: ClassVar[bool] = False

    def after(self, facts: AdamFacts) -> Self | None:
        """Return the stage as what the one before it found asks for it; None where it would follow noise."""
        share = self.share * worth_of_freedom(facts.held_out_gain or 0.0)
        weight = self.settings.regularity_factor * facts.regularity_weight
        return replace(self, regularity_weight=weight, share=share) if share else None

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Add the rounds; see `Stage`. The result is on the voxels of the frame."""
        assert features.renewed is not None
        changes = {
            "iterations": self.settings.iterations,
            "regularity_weight": self.regularity_weight,
            "trusted_regularity_weight": None,
        }
        adam = self.adam.model_copy(update=changes)
        one = InstanceOptimisation(adam, self.lattice, self.masked, self.measured)
        nowhere = Deformation.identity(self.lattice, device=start.vectors.device)
        found, facts = start.on(frame.voxels), []
        for _ in range(self.settings.rounds):
            step = one.run(nowhere, features.renewed(found), frame)
            # On voxels: read between cells, what was found before would lose its detail.
            found = found.after(self.share * step.deformation.on(frame.voxels).vectors)
            facts.append(step.facts)
        return StageResult(found, RenewedFacts(round(self.share, 4), tuple(facts)))
