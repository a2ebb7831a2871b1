"""Start from matching slices (Song et al. 2024, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import UNREPORTED
from dinoreg.settings.config import SlicesStart
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import warp_features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import axis_across
from dinoreg.stage import StageResult
from dinoreg.start.slice_matching import SliceMatch, compare_slices, match_slices
from dinoreg.start.translate import in_mm, translated


@dataclass(frozen=True, slots=True)
class SlicesFacts:
    """How slices were matched.

    Attributes:
        descriptor: what described a slice.
        slices: compared of fixed and moving.
        translation_mm: along the array axes.
        match: to be drawn.
    """

    descriptor: Literal["cls", "features"]
    slices: tuple[int, ...]
    translation_mm: tuple[float, ...]
    match: SliceMatch | None = field(default=None, metadata=UNREPORTED)


@dataclass(frozen=True, slots=True)
class SlicesStage:
    """Brings matching slices together.

    Attributes:
        settings: of the stage.
        lattice: of the stage.
        axis: array axis across the slices.
    """

    settings: SlicesStart
    lattice: Lattice
    axis: int
    name: ClassVar[str] = "start: slices"
    safe: ClassVar[bool] = True

    @classmethod
    def planned(cls, settings: SlicesStart, lattice: Lattice, orientation: str) -> Self:
        """Find the axis of an image."""
        plane = settings.slices
        return cls(settings, lattice, settings.axis if plane == "array" else axis_across(plane, orientation))

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Translate along one axis; see `Stage`."""
        settings, base = self.settings, start.vectors
        seen, codes = features.on(self.lattice), features.codes
        by_cls = self.axis in codes if settings.descriptor == "auto" else settings.descriptor == "cls"
        if by_cls:
            found = codes[self.axis]
        else:
            moved = warp_features(seen.moving, base)
            found = compare_slices(seen.fixed, moved, self.axis, origin=frame.origin[self.axis])
        voxels = match_slices(
            found.distances,
            found.fixed_valid,
            found.moving_valid,
            closest=settings.closest,
            robust=settings.robust,
            fixed_at=found.fixed_at,
            moving_at=found.moving_at,
        )
        cells = voxels / self.lattice.stride[self.axis]
        if by_cls:
            # Whole slices are compared where they are: the displacement so far has had its part of the shift.
            weight = seen.fixed.weight
            so_far = (base[self.axis] * weight[0]).sum() / weight.sum().clamp(min=1e-6)
            cells -= float(so_far)
        shift = torch.zeros(len(self.lattice.shape))
        shift[self.axis] = cells
        facts = SlicesFacts(
            descriptor="cls" if by_cls else "features",
            slices=tuple(found.distances.shape),
            translation_mm=in_mm(shift, self.lattice),
            match=SliceMatch(found, self.axis, voxels, 0 if settings.robust else settings.closest),
        )
        return StageResult(translated(start, shift), facts)
