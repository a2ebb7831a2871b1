"""Start from an affine of the features: a translation over the whole field of view, then 12 parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.data_term import ssd_term
from dinoreg.optimise.parameterise import Affine
from dinoreg.optimise.similarity import ssd
from dinoreg.settings.config import AffineStart
from dinoreg.space.compose import compose
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features, warp_features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult
from dinoreg.start.translation import search_translation


@dataclass(frozen=True, slots=True)
class AffineStage:
    """A translation over the whole field of view, then 12 parameters."""

    settings: AffineStart
    lattice: Lattice
    name: ClassVar[str] = "start: affine"
    safe: ClassVar[bool] = True

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Fit; see `Stage`."""
        seen = features.on(self.lattice)
        vectors = fit_affine(
            seen.fixed,
            seen.moving,
            start.vectors,
            iterations=self.settings.iterations,
            learning_rate=self.settings.learning_rate,
            min_overlap=self.settings.min_overlap,
        )
        return StageResult(Deformation(vectors, self.lattice))


def fit_affine(
    fixed: Features,
    moving: Features,
    start: Tensor,
    *,
    iterations: int,
    learning_rate: float,
    min_overlap: float,
) -> Tensor:
    """Refine a start by a translation, then by an affine.

    The translation is taken over only where it brings the features closer than the start does.

    Args:
        fixed: features on a coarse lattice.
        moving: on the same lattice.
        start: (rank, *S) cells.
        iterations: of Adam on the 12 (2D: 6) parameters.
        learning_rate: cells.
        min_overlap: of the translation search, as a share of the smaller foreground.

    Returns:
        (rank, *S) cells: the affine applied to fixed positions, then the start.
    """
    moved = warp_features(moving, start)
    rank = start.shape[0]
    shift = search_translation(fixed, moved, min_overlap=min_overlap)
    translation = shift.view(-1, *([1] * rank)).expand_as(start).contiguous()
    moved_further = warp_features(moving, compose(translation, start))
    if _distance(fixed, moved_further) < _distance(fixed, moved):
        start, moved = compose(translation, start), moved_further
    affine = Affine(fixed.lattice.shape, device=start.device)
    displacement, _ = refine_adam(
        affine,
        ssd_term(fixed.values, moved.values, weight=fixed.weight * moved.weight),
        regularity_weight=0.0,
        spacing_mm=fixed.lattice.spacing_mm,
        iterations=iterations,
        learning_rate=learning_rate,
    )
    return compose(displacement, start)


def _distance(fixed: Features, warped: Features) -> float:
    return float(ssd(fixed.values)(warped.values, fixed.weight * warped.weight))
