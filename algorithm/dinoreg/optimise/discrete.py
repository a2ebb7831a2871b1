"""One discrete stage: cost volume, coupled convex regularisation, inverse consistency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import INLINE
from dinoreg.optimise.cost_volume import make_cost_volume
from dinoreg.optimise.coupled_convex import solve_coupled_convex
from dinoreg.optimise.intensities.agreement import AgreementFacts, weigh_intensities
from dinoreg.runtime import check_memory
from dinoreg.settings.config import Discrete
from dinoreg.space.compose import compose, symmetrise
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features, warp_features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult


@dataclass(frozen=True, slots=True)
class ConvexFacts:
    """How far was searched, and what the intensities were worth."""

    radius_cells: tuple[int, ...]
    agreement: AgreementFacts | None = field(default=None, metadata=INLINE)


@dataclass(frozen=True, slots=True)
class ConvexSearch:
    """Coupled convex search on a cost volume around the displacement so far.

    Attributes:
        settings: in millimetres.
        lattice: of the stage.
        radius: cells per axis.
        masked: whether cells without foreground are neutral.
        measured: whether the weight of the intensities follows from what the images show.
    """

    settings: Discrete
    lattice: Lattice
    radius: tuple[int, ...]
    masked: bool
    measured: bool
    name: ClassVar[str] = "discrete"
    safe: ClassVar[bool] = False

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Search; see `Stage`.

        Raises:
            torch.OutOfMemoryError: the cost volume does not fit into memory.
        """
        _check_room(self.lattice, self.radius, start.vectors.device)
        seen, agreement = features.on(self.lattice, self.settings.weights), None
        if self.measured:
            seen, agreement = weigh_intensities(seen, start.vectors)
        vectors = search_convex(
            seen.fixed,
            seen.moving,
            start.vectors,
            self.radius,
            consistency_iterations=self.settings.consistency_iterations,
            masked=self.masked,
        )
        return StageResult(Deformation(vectors, self.lattice), ConvexFacts(self.radius, agreement))


def _check_room(lattice: Lattice, radius: Sequence[int], device: torch.device) -> None:
    """The cost volume, and beside it a slab of candidates with what each is penalised by."""
    cells, candidates = math.prod(lattice.shape), math.prod(2 * r + 1 for r in radius)
    slab = candidates // (2 * radius[0] + 1)
    needed = 4 * cells * (candidates + 3 * slab + 30)
    check_memory(f"{candidates} candidates on {lattice.shape} cells", needed, device)


def search_convex(
    fixed: Features,
    moving: Features,
    start: Tensor,
    radius: Sequence[int],
    *,
    consistency_iterations: int,
    masked: bool = True,
) -> Tensor:
    """Search all displacements within `radius` of a start, regularised (Siebert et al. 2021, section 2).

    The moving features are read at the start first, so that the search is centred on it; the result is the
    composition of both.

    Args:
        fixed: features on a lattice.
        moving: features on the same lattice.
        start: (rank, *S) cells.
        radius: cells per axis.
        consistency_iterations: of the inverse consistency; 0 skips the backward search.
        masked: whether cells without foreground are neutral.

    Returns:
        (rank, *S) cells.
    """
    moved = warp_features(moving, start) if bool(start.any()) else moving
    spacing_mm = fixed.lattice.spacing_mm

    def search(a: Features, b: Features) -> Tensor:
        weights = (a.weight, b.weight) if masked else (None, None)
        volume = make_cost_volume(
            a.values, b.values, radius, fixed_weight=weights[0], moving_weight=weights[1]
        )
        return solve_coupled_convex(volume, spacing_mm=spacing_mm)

    found = search(fixed, moved)
    if consistency_iterations:
        found, _ = symmetrise(found, search(moved, fixed), iterations=consistency_iterations)
    return compose(found, start)
