"""How a result is judged: on which cells, by which features, and by what the images themselves show."""

from __future__ import annotations

from dataclasses import dataclass

from dinoreg.encoders.pair import PairFeatures
from dinoreg.guard.verdict import Verdict, gather_evidence, judge
from dinoreg.optimise.intensities.agreement import explained_by
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice


@dataclass(frozen=True, slots=True)
class Judged:
    """What a verdict is made from: features on a lattice where anatomy outweighs noise, and their weights."""

    lattice: Lattice
    weights: tuple[float, ...]

    def verdict(
        self,
        features: PairFeatures,
        found: Deformation,
        intensities: tuple[Features, Features],
        *,
        one_family: bool,
    ) -> Verdict:
        """Grade what was found.

        Args:
            features: that it was found by.
            found: the deformation, on any lattice of the frame.
            intensities: of fixed and moving, on one lattice of the frame.
            one_family: whether both are of one family of modalities.
        """
        seen = features.on(self.lattice, self.weights)
        evidence = gather_evidence(
            seen.fixed,
            seen.moving,
            found.on(self.lattice).vectors,
            explained=explained_by(*intensities, found.on(intensities[0].lattice).vectors),
            one_family=one_family,
        )
        return judge(evidence)
